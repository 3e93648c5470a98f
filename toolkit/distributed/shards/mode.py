"""The mode that runs a model's own code on shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch.overrides import TorchFunctionMode

from toolkit.distributed.shards.halo import settle
from toolkit.distributed.shards.rules.local import plain
from toolkit.distributed.shards.rules.table import EARLY, NAMED, NEEDS_STRIPS, RANDOM, RULES, TENSOR_ATTRIBUTES, WATCHED
from toolkit.distributed.shards.shard import Rule, Shard
from toolkit.distributed.shards.strip import ATTRIBUTE, tensors_in
from toolkit.numerics.convolution import convolve
from toolkit.numerics.frame_masks import FrameMask

NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}
"""Names of NumPy that torch's functions take too, and torch's own names for the same."""


class ShardMode(TorchFunctionMode):
    """Within this context every torch function is computed on this rank's shard, or refused.

    While torch runs ``__torch_function__`` of a mode, the mode is off. So a rule calls ``func`` and gets the plain
    function.

    Args:
        shard: This rank's shard.
        rules: Rules for this run, by function or by its name; they come before those of the table. A rule is a
            function, or the name of one that the table offers for the operation.

    Raises:
        NotExact: If there is no rule for an operation on a sharded tensor, or its rule cannot be exact.
    """

    def __init__(self, shard: Shard, rules: Mapping[Any, Rule | str] | None = None) -> None:
        super().__init__()
        self.shard = shard
        self._own = {
            operation: NAMED[operation, rule] if isinstance(rule, str) else rule
            for operation, rule in (rules or {}).items()
        }
        self._known: dict[Any, tuple[Rule, Rule | None, bool]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # This runs at every torch call of a model, thousands of times: the common cases come first and do little.
        rule, without, early = self._known.get(func) or self._look_up(func)
        if rule is plain:
            return func(*args, **kwargs) if kwargs else func(*args)
        shard = self.shard
        args, kwargs = _by_torchs_names(args, kwargs) if kwargs else (args, {})
        # Rows that are still under way must be there before anything but a convolution looks at the map.
        if shard.pending and not early:
            settle(shard, shard.pending)
            shard.pending.clear()
        if (args and getattr(args[0], ATTRIBUTE, None)) or _sharded(args) or (kwargs and _sharded(kwargs.values())):
            return rule(shard, func, args, kwargs)
        return func(*args, **kwargs) if without is None else without(shard, func, args, kwargs)

    def _look_up(self, func: Callable[..., Any]) -> tuple[Rule, Rule | None, bool]:
        """Find how to treat a function.

        Returns:
            The rule for tensors with strips; the rule for tensors without, or None: call the function; and whether the
            function may begin while rows of its input are still under way.
        """
        name = getattr(func, "__name__", "")
        # x.shape and x.T both come as the __get__ of an attribute. Only some attributes are tensors; the others are
        # treated like size().
        if name == "__get__" and func.__self__.__name__ not in TENSOR_ATTRIBUTES:  # type: ignore[attr-defined]
            name = "size"
        rule = self._own.get(func) or self._own.get(name) or RULES.get(name, _unknown)
        without = rule if name in RANDOM or name in WATCHED else None
        if name in NEEDS_STRIPS:
            without = partial(_without_strips, rule)
        # A user's rule for a convolution does not know that rows may be missing.
        self._known[func] = rule, without, name in EARLY and name not in self._own and func not in self._own
        return self._known[func]


def _by_torchs_names(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Bring arguments into the one form that rules read: torch also takes NumPy's names, and ``input=`` by name."""
    named = {NUMPY_NAMES.get(name, name): value for name, value in kwargs.items()}
    # In where(condition, input, other) it is not the first.
    if not args and "input" in named and "condition" not in named:
        args = (named.pop("input"),)
    return args, named


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
    """Treat an operation of maps whose tensors have no strips.

    That is right only in layers that every rank computes on the whole map; there, use the kernels of the run.
    """
    if not shard.whole:
        raise shard.refuse(func, "its tensors have lost their strips", *tensors_in([*args, *kwargs.values()]))
    if any(isinstance(one, FrameMask) for one in (*args, *kwargs.values())):
        return rule(shard, func, args, kwargs)
    if func.__name__ in EARLY and shard.convolutions == "onednn":
        return convolve(func, *args, **kwargs)
    return func(*args, **kwargs)
