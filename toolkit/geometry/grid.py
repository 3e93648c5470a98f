"""Tile grids: which boxes of a latent are computed on their own, and where they meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from math import prod

from toolkit.errors import PlanError
from toolkit.geometry.checks import check_collection, check_parts, check_tuple, is_int, shown
from toolkit.geometry.drawing.html_views import grid_view
from toolkit.geometry.latent_extent import AXES, Latent, extent_of
from toolkit.geometry.span import Span, cores, cover_axis, shares, strided_axis

PerAxis = int | Mapping[str, int]
Box = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """One box of a grid, in latent units and in the order of the grid's axes.

    Attributes:
        index: Its place in ``grid.tiles`` (row-major).
        position: Its place along each axis.
        axes: The grid's axis names.
        box: What is computed: one span per axis, overlaps included.
        core_box: The tile with its overlaps cut in the middle. The cores partition the extent.
        share_box: The part that this tile's rank finishes in a merge: from the tile's start to the next tile's start.
            The shares partition the extent, too.
    """

    index: int
    position: tuple[int, ...]
    axes: tuple[str, ...]
    box: Box
    core_box: Box
    share_box: Box

    @property
    def spans(self) -> dict[str, Span]:
        """The tile's span along each axis, by name."""
        return dict(zip(self.axes, self.box, strict=True))

    @property
    def core(self) -> dict[str, Span]:
        """The span of the tile's core along each axis, by name."""
        return dict(zip(self.axes, self.core_box, strict=True))

    @property
    def cells(self) -> int:
        """Number of latent cells computed for this tile."""
        return prod(map(len, self.box))

    @property
    def share_cells(self) -> int:
        """Number of latent cells in this tile's share."""
        return prod(map(len, self.share_box))

    def __repr__(self) -> str:
        spans = ", ".join(f"{axis} {span!r}" for axis, span in self.spans.items())
        return f"Tile({self.index}: {spans})"


@dataclass(frozen=True, slots=True)
class Seam:
    """Where two neighbouring tiles meet along one axis.

    Attributes:
        axis: The axis along which the tiles are neighbours.
        tiles: Indices of the earlier and the later tile.
        span: Their overlap along ``axis``; empty where they only touch.
        box: The seam's box over all axes: the overlap along ``axis``, the cells common to both along the others.
    """

    axis: str
    tiles: tuple[int, int]
    span: Span
    box: Box


@dataclass(frozen=True, repr=False)
class TileGrid:
    """Boxes that cover a latent: the product of one row of spans per axis.

    Usually made by :meth:`cover` or :meth:`strided`. Your own spans work as well if they cover the extent in order.

    Attributes:
        axes: Axis names, slowest first: of a latent, one or more of ``t``, ``h``, ``w``, in this order.
        rows: The spans along each axis.

    Raises:
        PlanError: If the axes are out of order, or the spans of an axis leave a gap.

    Example:
        >>> grid = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)
        >>> grid
        TileGrid(h 60 in 3 x 26, w 104 in 4 x 32; 12 tiles, 1.60x the work)
        >>> grid.tiles[5].spans["h"], grid.tiles[5].core["h"]
        (17:43, 21:38)
    """

    axes: tuple[str, ...]
    rows: tuple[tuple[Span, ...], ...]

    def __post_init__(self) -> None:
        check_tuple("axes", self.axes, kind=str, what="axis names")
        if not 1 <= len(self.axes) <= 3 or len(set(self.axes)) != len(self.axes):
            raise PlanError(f"axes={self.axes}: a grid has 1 to 3 axes of different names.")
        if self.axes != _in_order(self.axes):
            raise PlanError(f"axes={self.axes}: t, h and w must come in this order; use {_in_order(self.axes)}.")
        check_tuple("rows", self.rows, kind=tuple, what="tuples of Spans")
        if len(self.rows) != len(self.axes):
            raise PlanError(f"{len(self.rows)} rows of spans for axes {self.axes}: give one row per axis.")
        for axis, row in zip(self.axes, self.rows, strict=True):
            _check_row(axis, row)
        check_parts(len(self), what=f"{' x '.join(map(str, self.shape))} tiles")

    def __reduce__(self) -> tuple[type[TileGrid], tuple[object, ...]]:
        # Pickle the fields only, not the cached properties: a plan travels with every run.
        return type(self), (self.axes, self.rows)

    @classmethod
    def cover(cls, extent: Latent, tile: PerAxis, overlap: PerAxis = 0) -> TileGrid:
        """Cover the extent with the fewest tiles, equally large and evenly spaced, without a sliver.

        Args:
            extent: Size of each axis in latent units, e.g. ``{"h": 60, "w": 104}``; or the latent or its shape, of
                which ``h`` and ``w`` are divided, and ``t`` only if ``tile`` names it.
            tile: Largest size of a tile, for all axes or per axis. An axis no longer than its tile stays whole.
            overlap: Smallest overlap of neighbours, for all axes or per axis.

        Raises:
            PlanError: If a size is below 1, an overlap is outside ``0 <= overlap < tile``, or an axis has no value.

        Example:
            >>> len(TileGrid.cover({"h": 128, "w": 128}, tile=32, overlap=8))
            25
            >>> TileGrid.cover((1, 16, 21, 60, 104), tile=32, overlap=8)  # or the latent itself
            TileGrid(h 60 in 3 x 26, w 104 in 4 x 32; 12 tiles, 1.60x the work)
        """
        return cls._place(cover_axis, extent, tile, overlap, "overlap")

    @classmethod
    def strided(cls, extent: Latent, tile: PerAxis, stride: PerAxis) -> TileGrid:
        """Place the tiles that ``range(0, extent, stride)`` makes along each axis, slivers included.

        Example:
            >>> len(TileGrid.strided({"h": 128, "w": 128}, tile=32, stride=24))
            36
        """
        return cls._place(strided_axis, extent, tile, stride, "stride")

    @classmethod
    def _place(
        cls,
        place: Callable[[int, int, int], tuple[Span, ...]],
        extent: Latent,
        tile: PerAxis,
        other: PerAxis,
        name: str,
    ) -> TileGrid:
        extent = extent_of(extent, tile if isinstance(tile, Mapping) else ())
        check_tuple("axes", axes := _in_order(extent), kind=str, what="axis names")
        tiles, others = _per_axis("tile", tile, axes=axes), _per_axis(name, other, axes=axes)
        return cls(axes, tuple(place(extent[a], tiles[a], others[a]) for a in axes))

    @property
    def extent(self) -> dict[str, int]:
        """Size of each axis."""
        return {axis: row[-1].stop for axis, row in zip(self.axes, self.rows, strict=True)}

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of tiles along each axis."""
        return tuple(map(len, self.rows))

    def __len__(self) -> int:
        return prod(self.shape)

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """All tiles, row-major."""
        positions = product(*(range(n) for n in self.shape))
        boxes = zip(product(*self.rows), product(*map(cores, self.rows)), product(*map(shares, self.rows)), strict=True)
        return tuple(
            Tile(index, position, self.axes, *box)
            for index, (position, box) in enumerate(zip(positions, boxes, strict=True))
        )

    @cached_property
    def seams(self) -> tuple[Seam, ...]:
        """Every place where a tile meets the next one along an axis."""
        seams = []
        for tile in self.tiles:
            for place, axis in enumerate(self.axes):
                if tile.position[place] + 1 < self.shape[place]:
                    after = self.tiles[tile.index + prod(self.shape[place + 1 :])]
                    box = tuple(a & b for a, b in zip(tile.box, after.box, strict=True))
                    seams.append(Seam(axis, (tile.index, after.index), box[place], box))
        return tuple(seams)

    @property
    def redundancy(self) -> float:
        """Cells computed, over cells of the latent; 1.0 if nothing is computed twice."""
        return prod(sum(map(len, row)) / row[-1].stop for row in self.rows)

    @property
    def pairwise(self) -> bool:
        """Whether at most two tiles meet at any place along any axis.

        Then blending with earlier tiles leaves a tile's trailing edge untouched, and every rank can finish its own
        tiles after one exchange of raw edges.
        """
        return all(a.stop <= c.start for row in self.rows for a, c in zip(row, row[2:], strict=False))

    def index(self, position: tuple[int, ...]) -> int:
        """The index of the tile at ``position``.

        Example:
            >>> TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8).index((1, 2))
            6
        """
        check_collection("position", position, what="places, one for each axis")
        if len(position) != len(self.shape):
            raise PlanError(f"position={shown(position)}: give one place for each of the axes {self.axes}.")
        index = 0
        for place, count in zip(position, self.shape, strict=True):
            if not is_int(place) or not 0 <= place < count:
                raise PlanError(f"position={shown(position)}: must lie inside the grid's shape {self.shape}.")
            index = index * count + place
        return index

    def __repr__(self) -> str:
        rows = ", ".join(_describe(axis, row) for axis, row in zip(self.axes, self.rows, strict=True))
        return f"TileGrid({rows}; {len(self)} tiles, {self.redundancy:.2f}x the work)"

    def _repr_html_(self) -> str:
        return grid_view(self.axes, self.rows, facts=f"{len(self)} tiles, {self.redundancy:.2f}x the work")


def _in_order(axes: Iterable[str]) -> tuple[str, ...]:
    """The axes with t, h and w in this order; axes of other names keep their places.

    Example:
        >>> _in_order(["w", "t", "h"])
        ('t', 'h', 'w')
    """
    axes = tuple(axes)
    known = iter([axis for axis in AXES if axis in axes])
    return tuple(next(known) if axis in AXES else axis for axis in axes)


def _describe(axis: str, row: tuple[Span, ...]) -> str:
    sizes = sorted({len(span) for span in row})
    size = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]}..{sizes[-1]}"
    return f"{axis} {row[-1].stop} in {len(row)} x {size}"


def _per_axis(name: str, value: PerAxis, *, axes: tuple[str, ...]) -> dict[str, int]:
    if not isinstance(value, Mapping):
        return dict.fromkeys(axes, value)
    missing = [axis for axis in axes if axis not in value]
    unknown = [axis for axis in value if axis not in axes]
    if missing or unknown:
        raise PlanError(f"{name}={shown(dict(value))} for axes {axes}: give one int, or exactly one int per axis.")
    return dict(value)


def _check_row(axis: str, row: tuple[Span, ...]) -> None:
    check_tuple(f"axis {axis!r}: spans", row, kind=Span, what="Spans")
    if not row or row[0].start != 0 or any(len(span) == 0 for span in row):
        raise PlanError(f"axis {axis!r}: spans {shown(row)} must start at 0 and hold at least one cell each.")
    for a, b in pairwise(row):
        if not a.start < b.start <= a.stop <= b.stop:
            raise PlanError(f"axis {axis!r}: span {b} after {a} must start later, leave no gap and end no earlier.")
