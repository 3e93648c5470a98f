"""How large an error is at the seams of a grid, and how it decreases with the distance from them.

The line of a seam is the centre of the overlap of its two tiles, rounded down to the edge of a sample cell. If the
tiles only touch, the line is where they touch. All positions here are in sample cells (pixels, frames).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf

import torch
from torch import Tensor

from toolkit.errors import ToolkitError
from toolkit.geometry.grid import Seam, TileGrid
from toolkit.geometry.span import Span, cores
from toolkit.numerics.boxes import DIMS, BoxLayout
from toolkit.numerics.colour import without_shift
from toolkit.numerics.sample_grid import sample_grid


@dataclass(frozen=True, slots=True)
class Level:
    """The absolute error over a set of cells.

    Attributes:
        mean: Mean error.
        p99: The value that 99 % of the cells do not exceed.
        max: Largest error.
    """

    mean: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class SeamProfile:
    """The absolute error as a function of the distance to the nearest seam of one axis.

    Attributes:
        axis: The axis along which distance is measured.
        distance: Signed distance of a cell's centre from the seam's line, ascending: -1.5, -0.5, 0.5, ...
        levels: The error at each distance, over all seams of the axis and all positions along the other axes.
        interior: The error over the half of the axis that is farthest from its seams. A good seam is no worse.
    """

    axis: str
    distance: tuple[float, ...]
    levels: tuple[Level, ...]
    interior: Level


@dataclass(frozen=True, slots=True)
class SeamError:
    """The error where two tiles meet.

    Attributes:
        axis: The axis along which the tiles are neighbours.
        position: The seam's line, in sample cells along ``axis``.
        tiles: Indices of the earlier and the later tile.
        mean: Mean absolute error in their overlap. If the tiles only touch: in the two cells beside the line.
        max: Largest absolute error there.
        ratio: ``mean`` over the mean error in the interior, which is the half of every axis that is farthest from its
            seams; 1.0 if both are 0.
        residual: Mean absolute error there after :func:`~toolkit.numerics.colour.without_shift`; near 0 if the tiles
            differ in colour only.
    """

    axis: str
    position: int
    tiles: tuple[int, int]
    mean: float
    max: float
    ratio: float
    residual: float


def seam_lines(row: tuple[Span, ...]) -> list[int]:
    """The lines of the seams along one axis: the centre of each overlap, rounded down.

    Example:
        >>> seam_lines((Span(0, 32), Span(24, 56), Span(48, 60)))
        [28, 52]
    """
    return [core.start for core in cores(row)[1:]]


def seam_profile(
    error: Tensor, grid: TileGrid, *, axis: str, ratio: Mapping[str, int], reach: int | None = None
) -> SeamProfile:
    """The absolute error as a function of the signed distance to the nearest seam of ``axis``.

    Args:
        error: The error, signed or absolute, ``b c h w`` or ``b c t h w``.
        grid: The tiles, in latent cells.
        axis: The axis along which to measure the distance.
        ratio: Sample cells per latent cell along each axis.
        reach: Largest distance, in sample cells; None for all cells.

    Raises:
        ToolkitError: If the axis has no seam, or ``reach`` is below 1.

    Example:
        >>> error = torch.zeros(1, 1, 4, 16)
        >>> error[..., 8] = 0.5
        >>> profile = seam_profile(error, TileGrid.cover({"w": 4}, tile=2), axis="w", ratio={"w": 4}, reach=2)
        >>> profile.distance, [level.mean for level in profile.levels], profile.interior.mean
        ((-1.5, -0.5, 0.5, 1.5), [0.0, 0.0, 0.5, 0.0], 0.0)
    """
    rows = dict(zip(grid.axes, sample_grid(grid, error.shape, ratio=ratio).rows, strict=True))
    if len(rows.get(axis, ())) < 2:
        raise ToolkitError(f"axis={axis!r} has no seam in {grid!r}: choose an axis with at least 2 tiles.")
    if reach is not None and reach < 1:
        raise ToolkitError(f"reach={reach}: must be at least 1 sample cell.")
    distance = _distance(rows[axis])
    # One row per position along the axis. distance has one number per row, so a comparison selects rows.
    cells = error.detach().abs().movedim(DIMS[axis], 0).flatten(1)
    shown = sorted({d for d in distance.tolist() if reach is None or abs(d) <= reach})
    return SeamProfile(
        axis,
        tuple(shown),
        tuple(_level(cells[distance == d]) for d in shown),
        _level(cells[_far(distance)]),
    )


def per_seam(error: Tensor, grid: TileGrid, *, ratio: Mapping[str, int]) -> tuple[SeamError, ...]:
    """The error at each seam of a grid, in the order of ``grid.seams``.

    Args:
        error: The signed error, ``b c h w`` or ``b c t h w``.
        grid: The tiles, in latent cells.
        ratio: Sample cells per latent cell along each axis.

    Example:
        >>> error = torch.full((1, 1, 4, 16), 0.25)
        >>> found = per_seam(error, TileGrid.cover({"w": 4}, tile=2), ratio={"w": 4})
        >>> [(seam.position, seam.mean, seam.ratio) for seam in found]
        [(8, 0.25, 1.0)]
    """
    tiles, size, residual = (
        sample_grid(grid, error.shape, ratio=ratio),
        error.detach().abs(),
        without_shift(error, grid, ratio=ratio),
    )
    boxes = BoxLayout(tiles.axes, (1,) * len(tiles.axes))
    floor = _mean(_interior(size, tiles))
    lines = {axis: seam_lines(row) for axis, row in zip(tiles.axes, tiles.rows, strict=True)}

    def measure(seam: Seam) -> SeamError:
        place = tiles.axes.index(seam.axis)
        line = lines[seam.axis][tiles.tiles[seam.tiles[0]].position[place]]
        # Tiles that only touch have no overlap. Widen the span to the cells beside the line.
        wide = Span(min(seam.span.start, line - 1), max(seam.span.stop, line + 1))
        box = (*seam.box[:place], wide, *seam.box[place + 1 :])
        here = boxes.cut(size, box)
        mean, left = _mean(here), _mean(boxes.cut(residual, box).abs())
        return SeamError(seam.axis, line, seam.tiles, mean, float(here.max()), _quotient(mean, floor), left)

    return tuple(map(measure, tiles.seams))


def _interior(size: Tensor, tiles: TileGrid) -> Tensor:
    """The part of the absolute error that is far from the seams along every axis."""
    for axis, row in zip(tiles.axes, tiles.rows, strict=True):
        if len(row) > 1:
            size = size.index_select(DIMS[axis], _far(_distance(row)).nonzero().flatten())
    return size


def _distance(row: tuple[Span, ...]) -> Tensor:
    """The signed distance of each cell's centre from the nearest seam line. Of two equally near, the earlier one."""
    gaps = (torch.arange(row[-1].stop) + 0.5)[:, None] - torch.tensor(seam_lines(row))
    return gaps.gather(1, gaps.abs().argmin(1, keepdim=True)).squeeze(1)


def _far(distance: Tensor) -> Tensor:
    """Whether each cell is in the half that is farthest from the seams."""
    return distance.abs() >= distance.abs().median()


def _level(cells: Tensor) -> Level:
    flat = cells.flatten()
    return Level(_mean(flat), float(flat.kthvalue(ceil(0.99 * len(flat))).values), float(flat.max()))


def _mean(cells: Tensor) -> float:
    return float(cells.double().mean())


def _quotient(mean: float, floor: float) -> float:
    if floor == 0:
        return 1.0 if mean == 0 else inf
    return mean / floor
