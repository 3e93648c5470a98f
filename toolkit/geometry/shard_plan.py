"""Shard plans: a latent cut into h by w parts without overlap, one per rank, and what crosses their borders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, ClassVar, Literal, get_args

from toolkit.errors import PlanError
from toolkit.geometry.checks import check_choice, check_counts, check_extent, check_ints, check_parts, check_rank
from toolkit.geometry.drawing.html_views import shard_view
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.known_arguments import known_arguments
from toolkit.geometry.plan import Plan, PlanKind
from toolkit.geometry.shard_order import Block, Lengths, best_order, borders_of, check_block, place_of, rank_at
from toolkit.geometry.span import Span
from toolkit.geometry.topology import Topology, check_topology, hosts_of

Attention = Literal["gather", "ring"]
Borders = Literal["exchange", "recompute"]
AXES = ("h", "w")
"""The axes that shards divide."""


def even_parts(extent: int, parts: int) -> tuple[int, ...]:
    """Divide ``extent`` into ``parts`` that differ by one at most, larger ones first.

    Example:
        >>> even_parts(11, 3)
        (4, 4, 3)
    """
    return tuple(extent // parts + (index < extent % parts) for index in range(parts))


@known_arguments
@dataclass(frozen=True, repr=False)
class ShardPlan(Plan):
    """One latent over ``h * w`` ranks, exactly: every rank computes its part of every layer.

    Shards do not overlap and may differ in size. What a layer reads beyond its shard comes from the neighbours, so the
    result equals that of the whole latent, to rounding.

    Attributes:
        h: Number of parts along the height.
        w: Number of parts along the width.
        attention: How layers attend over the whole map. ``"gather"`` brings all keys and values to every rank;
            ``"ring"`` passes them around, so that no rank holds more than two parts at a time (slower).
        borders: ``"exchange"`` swaps the rows along the borders before each convolution. ``"recompute"`` sends nothing
            between ranks until the result is collected: each rank computes all layers up to the last one that sees the
            whole map, and from there on its shard plus as many rows around it as later layers consume. It suits slow
            links; it works for decode only, and for classes without a global operation after their middle block.
        root: The rank that ends up with the output.
        block: Shards along h and w that ranks fill before they go on to the next block, so that neighbours are on one
            host. None: one row of shards after the other.

    Raises:
        PlanError: If a value breaks a rule.

    Example:
        >>> plan = ShardPlan(h=2, w=2)
        >>> plan
        ShardPlan(2 x 2 shards, borders exchanged, attention gathered)
        >>> plan.parts({"h": 11, "w": 8})
        {'h': (6, 5), 'w': (4, 4)}
        >>> plan.shard(3, {"h": 11, "w": 8})
        {'h': 6:11, 'w': 4:8}
        >>> ShardPlan(h=2, w=4, block=(2, 2)).part_owners
        (0, 1, 4, 5, 2, 3, 6, 7)
    """

    kind: ClassVar[PlanKind] = PlanKind.SHARDS
    part_noun: ClassVar[str] = "shards"
    promise: ClassVar[str] = "exact shards: the untiled call, to rounding"

    h: int = 1
    w: int = 1
    attention: Attention = "gather"
    borders: Borders = "exchange"
    root: int = 0
    block: Block | None = None

    def __post_init__(self) -> None:
        check_counts(h=self.h, w=self.w)
        check_parts(self.ranks, what=f"h={self.h} x w={self.w} shards")
        check_choice("attention", self.attention, choices=get_args(Attention))
        check_choice("borders", self.borders, choices=get_args(Borders))
        check_rank("root", self.root, ranks=self.ranks)
        if self.block is not None:
            check_block(self.block, h=self.h, w=self.w)

    @classmethod
    def over(cls, topology: Topology, extent: Mapping[str, int]) -> ShardPlan:
        """Choose the shards, one for each rank of a topology, whose borders between hosts are the shortest.

        What is exchanged along a border grows with its length. Of plans with equal borders between hosts, those without
        corners between hosts send less; and of those, the one with the shortest borders in all is chosen.

        Args:
            topology: The hosts.
            extent: Size of the map along h and w, in latent cells.

        Raises:
            PlanError: If the map is too small for as many shards as there are ranks.

        Example:
            >>> ShardPlan.over(Topology(hosts=2, per_host=4), {"h": 60, "w": 104})
            ShardPlan(1 x 8 shards, borders exchanged, attention gathered)
            >>> ShardPlan.over(Topology(hosts=2, per_host=4), {"h": 104, "w": 60})
            ShardPlan(4 x 2 shards, borders exchanged, attention gathered)
        """
        check_topology(topology)
        plans = []
        for h in (h for h in range(1, topology.ranks + 1) if topology.ranks % h == 0):
            plan = cls(h, topology.ranks // h)
            try:
                plans.append(plan.on(topology, extent))
            except PlanError as error:
                refusal = error
        if not plans:
            raise PlanError(
                f"{topology.ranks} shards, one for each rank of {topology}: {refusal} Use fewer ranks."
            ) from None
        return min(plans, key=lambda plan: (plan.border_cells(extent, topology), plan.h))

    def on(self, topology: Topology, extent: Mapping[str, int]) -> ShardPlan:
        """Choose the block for which the borders between hosts are the shortest; the shards stay as they are.

        Args:
            topology: The hosts, which may have more ranks than the plan.
            extent: Size of the map along h and w, in latent cells.

        Raises:
            PlanError: If a shard would be too thin, or there are too few ranks.

        Example:
            >>> ShardPlan(h=4, w=4).on(Topology(hosts=4, per_host=4), {"h": 64, "w": 64}).block
            (2, 2)
        """
        parts = self.parts(extent)
        return replace(self, block=best_order(parts["h"], parts["w"], hosts_of(topology, self.ranks)))

    def border_cells(self, extent: Mapping[str, int], topology: Topology) -> Lengths:
        """The length of the borders between shards in latent cells, of those between hosts and of all.

        Example:
            >>> ShardPlan(h=2, w=2).border_cells({"h": 60, "w": 104}, Topology(hosts=2, per_host=2))
            Lengths(between=104, corners=0, every=164)
        """
        parts = self.parts(extent)
        return borders_of(parts["h"], parts["w"], self.block, hosts=hosts_of(topology, self.ranks))

    @property
    def ranks(self) -> int:
        """Number of ranks: one per shard."""
        return self.h * self.w

    @property
    def divisions(self) -> dict[str, int]:
        """Number of parts along each axis."""
        return {"h": self.h, "w": self.w}

    @property
    def output_rank(self) -> int:
        """The root."""
        return self.root

    @property
    def working(self) -> tuple[int, ...]:
        """All ranks."""
        return tuple(range(self.ranks))

    @property
    def units(self) -> tuple[int, ...]:
        """One shard per rank."""
        return (1,) * self.ranks

    @property
    def summary(self) -> str:
        """The plan in a few words."""
        blocks = f" in blocks of {self.block[0]} x {self.block[1]}" if self.block else ""
        return f"{self.h} x {self.w} shards{blocks}"

    def position(self, rank: int) -> dict[str, int]:
        """The place of a rank's part along each axis; ranks go along w first, within a block and from block to block.

        Raises:
            PlanError: If the plan has no such rank.
        """
        check_rank("rank", rank, ranks=self.ranks)
        h, w = place_of(rank, self.w, self.block)
        return {"h": h, "w": w}

    def rank_at(self, h: int, w: int) -> int:
        """The rank at a place: the inverse of :meth:`position`.

        Raises:
            PlanError: If the plan has no such place.

        Example:
            >>> ShardPlan(h=2, w=2, block=(2, 1)).rank_at(h=0, w=1)
            2
        """
        check_ints(0, most=self.h - 1, h=h)
        check_ints(0, most=self.w - 1, w=w)
        return rank_at(h, w, self.w, self.block)

    def parts(self, extent: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Number of latent rows (columns) of each part along each axis.

        Raises:
            PlanError: If an axis is missing or has fewer rows than :data:`LEAST` per part.
        """
        check_extent(extent)
        sizes: dict[str, Any] = {axis: extent.get(axis) for axis in AXES}
        check_ints(1, **sizes)
        for axis, count in self.divisions.items():
            if count > 1 and extent[axis] < LEAST * count:
                raise PlanError(
                    f"{axis}={extent[axis]} latent cells in {count} shards: each needs at least {LEAST}; "
                    f"use {axis}={max(1, extent[axis] // LEAST)} or fewer."
                )
        return {axis: even_parts(extent[axis], count) for axis, count in self.divisions.items()}

    def shard(self, rank: int, extent: Mapping[str, int]) -> dict[str, Span]:
        """The span of a rank's shard along each axis, in latent units.

        Raises:
            PlanError: If the plan has no such rank, or a shard would be too thin.
        """
        spans, position = {}, self.position(rank)
        for axis, parts in self.parts(extent).items():
            start = sum(parts[: position[axis]])
            spans[axis] = Span(start, start + parts[position[axis]])
        return spans

    def as_grid(self, extent: Mapping[str, int]) -> TileGrid:
        """The shards as tiles without overlap; tile ``i`` is the shard of rank ``part_owners[i]``.

        Example:
            >>> ShardPlan(h=3).as_grid({"h": 11, "w": 9})
            TileGrid(h 11 in 3 x 3..4, w 9 in 1 x 9; 3 tiles, 1.00x the work)
        """
        rows = []
        for parts in self.parts(extent).values():
            rows.append(tuple(Span(start, stop) for start, stop in pairwise(accumulate(parts, initial=0))))
        return TileGrid(AXES, tuple(rows))

    @property
    def part_owners(self) -> tuple[int, ...]:
        """The rank of each shard, one row of shards after the other.

        Example:
            >>> ShardPlan(h=3).part_owners
            (0, 1, 2)
        """
        if self.block is None:
            return self.working
        return tuple(rank_at(h, w, self.w, self.block) for h in range(self.h) for w in range(self.w))

    def part_grid(self, extent: Mapping[str, int]) -> TileGrid:
        """As :meth:`as_grid`."""
        return self.as_grid(extent)

    def __repr__(self) -> str:
        borders = "exchanged" if self.borders == "exchange" else "recomputed"
        attention = "gathered" if self.attention == "gather" else "in a ring"
        return f"ShardPlan({self.summary}, borders {borders}, attention {attention})"

    def _repr_html_(self) -> str:
        # A plan has no extent: its parts are drawn in per cent, as long as each has at least one per cent.
        most = max(self.divisions.values())
        whole, unit = (100, " %") if most <= 100 else (most, f" of {most}")
        rows = tuple(_rounded(whole, parts) for parts in self.divisions.values())
        how = _RECOMPUTED if self.borders == "recompute" else f"{_EXCHANGED}; {_ATTENTION[self.attention]}"
        facts = f"{self.summary}, one per rank, without overlap; {how}; output on rank {self.root}"
        return shard_view(rows, facts, unit=unit, root=self.root, owners=self.part_owners)


_EXCHANGED = "rows along borders are exchanged before each layer that reads across them"
_RECOMPUTED = "rows around each shard are recomputed, and nothing is sent before the result"
_ATTENTION: Mapping[Attention, str] = {
    "gather": "attention gathers all keys and values on every rank",
    "ring": "attention passes keys and values around a ring",
}


def _rounded(whole: int, parts: int) -> tuple[Span, ...]:
    """Divide ``whole`` into ``parts`` equal parts, with rounded bounds."""
    bounds = [round(whole * index / parts) for index in range(parts + 1)]
    return tuple(Span(start, stop) for start, stop in pairwise(bounds))


LEAST = 2
"""Smallest number of latent rows of a shard. With one row, a reshape cannot tell which dim holds the rows."""
