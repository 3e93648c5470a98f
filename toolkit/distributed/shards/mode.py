"""The mode that runs a model's own code on shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch.overrides import TorchFunctionMode

from toolkit.distributed.shards.halo import settle
from toolkit.distributed.shards.rules.local import plain
from toolkit.distributed.shards.rules.table import EARLY, NEEDS_STRIPS, RANDOM, RULES, TENSOR_ATTRIBUTES, WATCHED
from toolkit.distributed.shards.shard import Rule, Shard
from toolkit.distributed.shards.strip import ATTRIBUTE, tensors_in
from toolkit.numerics.convolution import convolve
from toolkit.numerics.frame_masks import FrameMask


class ShardMode(TorchFunctionMode):
    """Within this context every torch function is computed on this rank's shard, or refused.

    Args:
        shard: this rank's shard.
        rules: rules for this run, by function or by its name; before those of the table.

    Raises:
        NotExact: where there is no rule for an operation on a sharded tensor, or its rule cannot be exact.
    """

    def __init__(self, shard: Shard, rules: Mapping[Any, Rule] | None = None) -> None:
        super().__init__()
        self.shard = shard
        self._own = dict(rules or {})
        self._known: dict[Any, tuple[Rule, Rule | None, bool]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        rule, without, early = self._known.get(func) or self._look_up(func)
        if rule is plain:
            return func(*args, **kwargs) if kwargs else func(*args)
        shard, kwargs = self.shard, kwargs or {}
        if shard.pending and not early:
            settle(shard, shard.pending)
            shard.pending.clear()
        if (args and getattr(args[0], ATTRIBUTE, None)) or _sharded(args) or (kwargs and _sharded(kwargs.values())):
            return rule(shard, func, args, kwargs)
        return func(*args, **kwargs) if without is None else without(shard, func, args, kwargs)

    def _look_up(self, func: Callable[..., Any]) -> tuple[Rule, Rule | None, bool]:
        """Rules of a function for tensors with strips and for others, and whether it may begin early."""
        name = getattr(func, "__name__", "")
        if name == "__get__" and func.__self__.__name__ not in TENSOR_ATTRIBUTES:  # type: ignore[attr-defined]
            name = "size"
        rule = self._own.get(func) or self._own.get(name) or RULES.get(name, _unknown)
        without = rule if name in RANDOM or name in WATCHED else None
        if name in NEEDS_STRIPS:
            without = partial(_without_strips, rule)
        self._known[func] = rule, without, name in EARLY and name not in self._own and func not in self._own
        return self._known[func]


def _sharded(values: Any) -> bool:
    for value in values:
        if getattr(value, ATTRIBUTE, None):
            return True
        if isinstance(value, (list, tuple)) and _sharded(value):
            return True
    return False


def _unknown(shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise shard.refuse(func, "there is no rule for it", *tensors_in([*args, *kwargs.values()]))


def _without_strips(
    rule: Rule, shard: Shard, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """An operation of maps: of a layer that every rank computes on the whole map, by the kernels of the run."""
    if not shard.whole:
        raise shard.refuse(func, "its tensors have lost their strips", *tensors_in([*args, *kwargs.values()]))
    if any(isinstance(one, FrameMask) for one in (*args, *kwargs.values())):
        return rule(shard, func, args, kwargs)
    if func.__name__ in EARLY and shard.convolutions == "onednn":
        return convolve(func, *args, **kwargs)
    return func(*args, **kwargs)
