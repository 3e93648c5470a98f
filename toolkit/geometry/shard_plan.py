"""Shards: one latent cut into h by w parts, one a rank, without overlap; and what crosses their borders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from toolkit.errors import PlanError
from toolkit.geometry.drawing.html_views import shard_view
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.span import Span

Attention = Literal["gather", "ring"]
Borders = Literal["exchange", "recompute"]
AXES = ("h", "w")


def even_parts(extent: int, parts: int) -> tuple[int, ...]:
    """``extent`` in ``parts`` that differ by one at most, the larger ones first.

    Example:
        >>> even_parts(11, 3)
        (4, 4, 3)
    """
    return tuple(extent // parts + (index < extent % parts) for index in range(parts))


@dataclass(frozen=True, repr=False)
class ShardPlan:
    """One latent over ``h * w`` ranks, exactly: every rank computes its part of every layer.

    Shards do not overlap and need not be equally large. What a layer reads beyond its shard comes from the
    neighbours, so the result is that of the whole latent, to rounding.

    Attributes:
        h: parts along the height.
        w: parts along the width.
        attention: where a layer attends over the whole map: ``"gather"`` brings all keys and values to every rank,
            ``"ring"`` passes them around, so that no rank holds more than two parts of them at a time (slower).
        borders: ``"exchange"`` swaps the rows along the borders before each convolution. ``"recompute"`` sends nothing
            between ranks until the result is collected: each rank computes the layers up to the last one that sees the
            whole map in full, and from there its shard with as many rows beyond it as later layers consume. For
            slow links, decode only, and for classes without a global operation after their middle block.
        root: the rank that ends up with the output.

    Raises:
        PlanError: where a value breaks a rule.

    Example:
        >>> plan = ShardPlan(h=2, w=2)
        >>> plan
        ShardPlan(2 x 2 shards, borders exchanged, attention gathered)
        >>> plan.parts({"h": 11, "w": 8})
        {'h': (6, 5), 'w': (4, 4)}
        >>> plan.shard(3, {"h": 11, "w": 8})
        {'h': 6:11, 'w': 4:8}
    """

    h: int = 1
    w: int = 1
    attention: Attention = "gather"
    borders: Borders = "exchange"
    root: int = 0

    def __post_init__(self) -> None:
        for name in AXES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PlanError(f"{name}={value!r}: must be an int of at least 1, the number of parts along {name}.")
        for name, kinds in (("attention", Attention), ("borders", Borders)):
            if getattr(self, name) not in get_args(kinds):
                raise PlanError(f"{name}={getattr(self, name)!r}: must be one of {', '.join(get_args(kinds))}.")
        if not 0 <= self.root < self.ranks:
            raise PlanError(f"root={self.root}: must be one of the plan's {self.ranks} ranks, 0..{self.ranks - 1}.")

    @property
    def ranks(self) -> int:
        """Number of ranks: one a shard."""
        return self.h * self.w

    @property
    def divisions(self) -> dict[str, int]:
        """Parts along each axis."""
        return {"h": self.h, "w": self.w}

    @property
    def working(self) -> tuple[int, ...]:
        """The ranks that take part: all."""
        return tuple(range(self.ranks))

    @property
    def units(self) -> tuple[int, ...]:
        """What each rank reports as done, one by one: its shard."""
        return (1,) * self.ranks

    @property
    def summary(self) -> str:
        """The plan in a few words."""
        return f"{self.h} x {self.w} shards"

    def position(self, rank: int) -> dict[str, int]:
        """Which part along each axis a rank has; ranks go along w first."""
        return {"h": rank // self.w, "w": rank % self.w}

    def parts(self, extent: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Latent rows (columns) of each part along each axis.

        Raises:
            PlanError: where an axis has fewer rows than parts times :data:`LEAST`.
        """
        for axis, count in self.divisions.items():
            if count > 1 and extent[axis] < LEAST * count:
                raise PlanError(
                    f"{axis}={extent[axis]} latent cells in {count} shards: each needs {LEAST} at least; "
                    f"use {axis}={max(1, extent[axis] // LEAST)} or fewer."
                )
        return {axis: even_parts(extent[axis], count) for axis, count in self.divisions.items()}

    def shard(self, rank: int, extent: Mapping[str, int]) -> dict[str, Span]:
        """The span of a rank's shard along each axis, in latent units."""
        spans, position = {}, self.position(rank)
        for axis, parts in self.parts(extent).items():
            start = sum(parts[: position[axis]])
            spans[axis] = Span(start, start + parts[position[axis]])
        return spans

    def as_grid(self, extent: Mapping[str, int]) -> TileGrid:
        """The shards as tiles without overlap; tile i is rank i's shard.

        Example:
            >>> ShardPlan(h=3).as_grid({"h": 11, "w": 9})
            TileGrid(h 11 in 3 x 3..4, w 9 in 1 x 9; 3 tiles, 1.00x the work)
        """
        rows = []
        for parts in self.parts(extent).values():
            starts = [sum(parts[:index]) for index in range(len(parts))]
            rows.append(tuple(Span(start, start + size) for start, size in zip(starts, parts, strict=True)))
        return TileGrid(AXES, tuple(rows))

    def __repr__(self) -> str:
        borders = "exchanged" if self.borders == "exchange" else "recomputed"
        attention = "gathered" if self.attention == "gather" else "in a ring"
        return f"ShardPlan({self.h} x {self.w} shards, borders {borders}, attention {attention})"

    def _repr_html_(self) -> str:
        # A plan knows no extent: its parts are drawn in per cent, as long as each is one per cent at least.
        most = max(self.divisions.values())
        whole, unit = (100, " %") if most <= 100 else (most, f" of {most}")
        rows = tuple(_rounded(whole, parts) for parts in self.divisions.values())
        how = _RECOMPUTED if self.borders == "recompute" else f"{_EXCHANGED}; {_ATTENTION[self.attention]}"
        facts = f"{self.summary}, one a rank, without overlap; {how}; output on rank {self.root}"
        return shard_view(rows, facts, unit=unit, root=self.root)


_EXCHANGED = "rows along borders are exchanged before each layer that reads across them"
_RECOMPUTED = "rows beyond a shard are recomputed, and nothing is sent before the result"
_ATTENTION: Mapping[Attention, str] = {
    "gather": "attention gathers all keys and values on every rank",
    "ring": "attention passes keys and values around a ring",
}


def _rounded(whole: int, parts: int) -> tuple[Span, ...]:
    """``parts`` equal parts of ``whole``, their bounds rounded."""
    bounds = [round(whole * index / parts) for index in range(parts + 1)]
    return tuple(Span(start, stop) for start, stop in pairwise(bounds))


LEAST = 2
"""Fewest latent rows of a shard: with one row, a reshape leaves open which of its dims is the row's."""
