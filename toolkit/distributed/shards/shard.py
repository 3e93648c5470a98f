"""What rules work with: this rank's place among the shards, its messages, and how a rule refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.message import Message
from toolkit.distributed.shards.running_module import running_module
from toolkit.distributed.shards.strip import Layout, Strip, layout_of
from toolkit.errors import NotExact
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.numerics.convolution import Convolutions

Rule = Callable[["Shard", Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""``rule(shard, func, args, kwargs)`` computes ``func(*args, **kwargs)`` on this rank's shard.

The result is a tensor with its layout attached, or several. A rule that cannot be exact raises :meth:`Shard.refuse`.
"""

_MOST = 8192
"""Number of answers that are remembered for one place of a plan. A model needs some hundred per input shape."""

_FIXED = frozenset([int, str, float, bool, type(None)])


@dataclass(frozen=True, slots=True, eq=False)
class PendingHalo:
    """A padded map in which rows of other ranks are still missing.

    Attributes:
        map: The map, with other values in place of the missing rows.
        body: The view of ``map`` without the padding of other dims; the rows fit into it as they arrive.
        dim: The dim along which the rows are missing.
        rows: For each stretch of missing rows: the row where it begins, and the message that brings it.
    """

    map: Tensor
    body: Tensor
    dim: int
    rows: list[tuple[int, Message]]


@dataclass(slots=True, eq=False)
class Shard:
    """This rank's shard during one call.

    Attributes:
        plan: The shards.
        exchange: Messages to and from other ranks.
        convolutions: The kernels of small fp32 CPU convolutions.
        model: The model whose call it is; refusals and labels name its modules.
        seeded: Whether the model's random numbers come from a seed that all ranks have.
        index: This rank's place along each axis; empty: its place in the plan.
        pending: Padded maps whose rows are still under way; none outlives the next operation.
        whole: Whether the layers that run now compute the whole map on purpose.
        maps: The dims and strips of the maps computed so far, by the sizes of their last two dims.
    """

    plan: ShardPlan
    exchange: Exchange
    convolutions: Convolutions
    model: nn.Module
    seeded: bool
    index: dict[str, int] = field(default_factory=dict)
    pending: list[PendingHalo] = field(default_factory=list)
    whole: bool = False
    maps: dict[tuple[int, ...], tuple[int, Iterable[Strip]]] = field(default_factory=dict)
    _known: dict[Any, Any] = field(init=False)
    _names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.index = self.index or self.plan.position(self.exchange.member.rank)
        self._known = _memory(self.plan, tuple(self.index.items()))

    def rank_at(self, axis: str, index: int) -> int:
        """The rank at another place along one axis, with this rank's place along the other."""
        return self.plan.rank_at(**{**self.index, axis: index})

    def rows(self, strip: Strip) -> int:
        """Number of rows of a strip in this rank's tensor, margin and padding included."""
        return strip.rows(self.index[strip.axis])

    def recall(self, key: tuple[Any, ...]) -> Any:
        """Look up what a rule has worked out before; None if it has not.

        Args:
            key: Everything that the answer follows from: operation, shapes, layouts, numbers. The plan and this rank's
                place need not be in it, because each has a memory of its own.
        """
        try:
            return self._known.get(key)
        except TypeError:
            # A list among the arguments cannot be hashed, so it is worked out every time.
            return None

    def keep(self, key: tuple[Any, ...], value: Any) -> None:
        """Remember what a rule has worked out, unless something in the key can change: a list or a tensor."""
        if _is_fixed(key):
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = value

    def record_map(self, x: Tensor, strips: Iterable[Strip]) -> None:
        """Remember the layout of a map: random numbers that a model draws in the same shape are sharded alike."""
        if self.seeded:
            self.maps[x.shape[-2:]] = x.ndim, strips

    def refuse(self, func: Any, why: str, *tensors: Tensor) -> NotExact:
        """Make the refusal of an operation; it names the operation, the module that called it, and the strips.

        Args:
            func: The operation, or its name.
            why: The reason, as a clause.
            tensors: The tensors that the operation was given.
        """
        name = getattr(func, "__name__", str(func))
        shown = "; ".join(f"{tuple(t.shape)} with {describe(layout_of(t))}" for t in tensors)
        return NotExact(
            f"{name} in {self.module() or 'the model'} cannot be sharded exactly: {why}. "
            f"{shown and f'Given: {shown}. '}"
            "Use tiles for this model, or give a rule for the operation with rules={...}."
        )

    def module(self) -> str:
        """The name of the innermost module that is running; its class if the model does not list it."""
        module = running_module()
        if module is None:
            return ""
        self._names = self._names or {id(one): name for name, one in self.model.named_modules()}
        return self._names.get(id(module), type(module).__name__)


@lru_cache(maxsize=16)
def _memory(plan: ShardPlan, place: tuple[tuple[str, int], ...]) -> dict[Any, Any]:
    """What rules remember at one place of a plan. It holds nothing of a call, so it outlives calls."""
    return {}


def _is_fixed(values: tuple[Any, ...]) -> bool:
    for value in values:
        kind = type(value)
        if kind not in _FIXED and (
            isinstance(value, (list, dict, set, slice, Tensor)) or (isinstance(value, tuple) and not _is_fixed(value))
        ):
            return False
    return True


def describe(layout: Layout) -> str:
    """Describe strips in words, for refusals.

    Example:
        >>> describe((Strip("h", 3, 1, (6, 5)),))
        'h 6+5 in dim 3'
    """
    parts = []
    for strip in layout:
        padding = f" padded by {strip.lo},{strip.hi}" if strip.lo or strip.hi else ""
        inner = f" of {strip.inner} each" if strip.inner > 1 else ""
        parts.append(f"{strip.axis} {'+'.join(map(str, strip.extents))} in dim {strip.dim}{inner}{padding}")
    return ", ".join(parts) or "no strip"
