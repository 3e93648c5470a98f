"""What rules work with: this rank's place among the shards, its messages, and how a rule refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from types import FrameType
from typing import Any

from torch import Tensor, nn

from toolkit.distributed.comm.exchange import Exchange, Message
from toolkit.distributed.shards.strip import Layout, Strip, layout_of
from toolkit.errors import NotExact
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.numerics.convolution import Convolutions

Rule = Callable[["Shard", Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""``rule(shard, func, args, kwargs)`` computes ``func(*args, **kwargs)`` on this rank's shard and lays the result."""

_MOST = 8192
"""So many things are remembered of a plan; models have some hundred of a shape."""

_FIXED = frozenset([int, str, float, bool, type(None)])


@dataclass(frozen=True, slots=True, eq=False)
class PendingHalo:
    """A padded map in which rows of other ranks are still missing.

    Attributes:
        map: the map, with other values in their place.
        body: the view of it that holds the map along every other dim.
        dim: the dim along which they lie.
        rows: where they begin, and the messages that bring them.
    """

    map: Tensor
    body: Tensor
    dim: int
    rows: list[tuple[int, Message]]


@dataclass(slots=True, eq=False)
class Shard:
    """This rank's shard during one call.

    Attributes:
        plan: the shards.
        exchange: messages to and from other ranks.
        convolutions: the kernels of small fp32 CPU convolutions.
        model: whose call it is; its modules' names are for messages and refusals.
        index: which part of each axis this rank has; from the plan where it is not given.
        pending: padded maps whose rows are still under way; none outlives the next operation.
        whole: whether the layers that run now compute the whole map on purpose.
        seeded: whether the model's random numbers come from a seed that all ranks have.
        seen: number of dims and strips of the maps computed so far, by the sizes of their last two dims.
    """

    plan: ShardPlan
    exchange: Exchange
    convolutions: Convolutions
    model: nn.Module
    seeded: bool
    index: dict[str, int] = field(default_factory=dict)
    pending: list[PendingHalo] = field(default_factory=list)
    whole: bool = False
    seen: dict[tuple[int, ...], tuple[int, Iterable[Strip]]] = field(default_factory=dict)
    _known: dict[Any, Any] = field(init=False)
    _names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.index = self.index or self.plan.position(self.exchange.member.rank)
        self._known = _memory(self.plan, tuple(self.index.items()))

    def rank_at(self, axis: str, index: int) -> int:
        """The rank at another place along one axis of this rank's lattice."""
        place = {**self.index, axis: index}
        return place["h"] * self.plan.w + place["w"]

    def rows(self, strip: Strip) -> int:
        """Rows of a strip in this rank's tensor, padding included."""
        return strip.rows(self.index[strip.axis])

    def recall(self, key: tuple[Any, ...]) -> Any:
        """What a rule has worked out before, by all that it follows from: operation, shapes, layouts, numbers.

        Plan and place, which rules look at too, have a memory each.
        """
        try:
            return self._known.get(key)
        except TypeError:  # a list among the arguments has no hash
            return None

    def keep(self, key: tuple[Any, ...], value: Any) -> None:
        """Remember what a rule has worked out, unless the key holds what can change: a list or a tensor."""
        if _is_fixed(key):
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = value

    def note(self, x: Tensor, strips: Iterable[Strip]) -> None:
        """Remember the layout of a map, for random numbers of its size."""
        if self.seeded:
            self.seen[x.shape[-2:]] = x.ndim, strips

    def refuse(self, func: Any, why: str, *tensors: Tensor) -> NotExact:
        """The refusal of an operation: names it, the module that called it, and the strips of its tensors."""
        name = getattr(func, "__name__", str(func))
        shown = "; ".join(f"{tuple(t.shape)} with {describe(layout_of(t))}" for t in tensors)
        return NotExact(
            f"{name} in {self.module() or 'the model'} cannot be sharded exactly: {why}. "
            f"{shown and f'Given: {shown}. '}"
            "Use tiles for this model, or give a rule for the operation with rules={...}."
        )

    def module(self) -> str:
        """The name of the innermost module whose code is running."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_varnames[:1] == ("self",):
                owner = frame.f_locals.get("self")
                if isinstance(owner, nn.Module):
                    self._names = self._names or {id(module): name for name, module in self.model.named_modules()}
                    return self._names.get(id(owner), type(owner).__name__)
            frame = frame.f_back
        return ""


@lru_cache(maxsize=16)
def _memory(plan: ShardPlan, place: tuple[tuple[str, int], ...]) -> dict[Any, Any]:
    """What rules know at one place of a plan: it follows from its keys alone, and so outlives a call."""
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
    """Strips in words, for refusals.

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
