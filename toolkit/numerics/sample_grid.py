"""Convert a grid of latent cells to a grid of sample cells (pixels, frames)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolkit.errors import ToolkitError
from toolkit.geometry.grid import TileGrid
from toolkit.geometry.span import Span
from toolkit.numerics.boxes import DIMS


def sample_ratio(shape: Sequence[int], grid: TileGrid) -> dict[str, int]:
    """Sample cells per latent cell along each axis, from the shape of a sample and its grid.

    A causal video model makes one frame of the first latent frame and ``ratio`` frames of each other one. If the number
    of frames fits this rule, the rule is used.

    Raises:
        ToolkitError: If the sample is not a whole multiple of the grid's extent.

    Example:
        >>> grid = TileGrid.cover({"t": 3, "h": 4, "w": 6}, tile=4)
        >>> sample_ratio((1, 3, 9, 32, 48), grid)
        {'t': 4, 'h': 8, 'w': 8}
    """
    ratios = {}
    for axis, latent in grid.extent.items():
        cells = _extent(shape, axis)
        if axis == "t" and latent > 1 and (cells - 1) % (latent - 1) == 0:
            ratios[axis] = (cells - 1) // (latent - 1)
        elif cells % latent == 0:
            ratios[axis] = cells // latent
        else:
            raise ToolkitError(
                f"axis {axis!r}: {cells} sample cells over {latent} latent cells is not a whole ratio. "
                "Use the grid that this sample was made with."
            )
    return ratios


def sample_grid(grid: TileGrid, shape: Sequence[int], *, ratio: Mapping[str, int]) -> TileGrid:
    """The grid in sample cells.

    Args:
        grid: The grid in latent cells.
        shape: Shape of the sample, ``b c h w`` or ``b c t h w``.
        ratio: Sample cells per latent cell along each axis.

    Raises:
        ToolkitError: If the grid does not cover the sample.

    Example:
        >>> sample_grid(TileGrid.cover({"w": 6}, tile=4, overlap=2), (1, 3, 8, 48), ratio={"w": 8}).rows
        ((0:32, 16:48),)
    """
    rows = []
    for axis, row in zip(grid.axes, grid.rows, strict=True):
        cells, times = _extent(shape, axis), ratio[axis]
        # A causal video model makes one frame of the first latent frame, not `times`.
        offset = cells - row[-1].stop * times
        if offset not in ((0, 1 - times) if axis == "t" else (0,)):
            raise ToolkitError(
                f"axis {axis!r}: {row[-1].stop} latent cells at ratio {times} do not give the sample's {cells} cells. "
                "Use the grid and the ratio that this sample was made with."
            )
        rows.append(tuple(Span(max(0, s.start * times + offset), s.stop * times + offset) for s in row))
    return TileGrid(grid.axes, tuple(rows))


def _extent(shape: Sequence[int], axis: str) -> int:
    if len(shape) < (5 if axis == "t" else 4):
        raise ToolkitError(f"shape {tuple(shape)} has no axis {axis!r}: must be b c h w or b c t h w.")
    return shape[DIMS[axis]]
