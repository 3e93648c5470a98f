"""Errors in the colour of whole tiles, as opposed to errors at their seams."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import torch
from torch import Tensor

from toolkit.geometry.grid import TileGrid
from toolkit.numerics.boxes import BoxLayout
from toolkit.numerics.metrics import difference
from toolkit.numerics.sample_grid import sample_grid, sample_ratio


def colour_shift(a: Tensor, b: Tensor, grid: TileGrid | None = None, ratio: Mapping[str, int] | None = None) -> Tensor:
    """The signed colour shift of each tile: the median of ``a - b`` over its core, per channel.

    If a whole tile is too bright, this is by how much. A thin line at a seam does not change a median.

    Args:
        a: The sample, ``b c h w`` or ``b c t h w``.
        b: The reference, of the same shape.
        grid: The tiles, in latent cells. None: the whole sample is one tile.
        ratio: Sample cells per latent cell along each axis. None: taken from the shape.

    Returns:
        The shifts ``tile c``, in the order of ``grid.tiles``.

    Example:
        >>> a = torch.zeros(1, 1, 4, 16)
        >>> a[..., 8:] = 0.5
        >>> colour_shift(a, torch.zeros_like(a), TileGrid.cover({"w": 4}, tile=2)).tolist()
        [[0.0], [0.5]]
    """
    error = difference(a, b)
    if grid is None:
        return _median(error)[None]
    return _shifts(error, sample_grid(grid, error.shape, ratio=ratio or sample_ratio(error.shape, grid)))


def without_shift(error: Tensor, grid: TileGrid, *, ratio: Mapping[str, int]) -> Tensor:
    """The part of an error that no blend of shifted tile colours can explain.

    Where tiles with shifted colours are blended, the error lies between their shifts. Only the part outside that
    interval is kept. So a step or a ramp from one tile's colour to the next gives 0, and a line at a seam stays.

    Example:
        >>> error = torch.tensor([0.0, 0.0, 0.0, 0.25, 0.5, 0.5, 0.75, 0.5]).view(1, 1, 1, 8)
        >>> without_shift(error, TileGrid.cover({"w": 8}, tile=5, overlap=2), ratio={"w": 1}).flatten().tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25, 0.0]
    """
    tiles = sample_grid(grid, error.shape, ratio=ratio)
    boxes = BoxLayout(tiles.axes, (1,) * len(tiles.axes))
    shape = [1] * error.ndim
    for dim in (1 - error.ndim, *boxes.dims):
        shape[dim] = error.shape[dim]
    # The smallest and the largest shift of the tiles that hold a cell. Dims that are not divided have size 1 here.
    low, high = error.new_full(shape, inf), error.new_full(shape, -inf)
    for tile, shift in zip(tiles.tiles, _shifts(error.detach(), tiles), strict=True):
        value = shift.view(-1, *(1,) * (error.ndim - 2))
        for bound, pick in ((low, torch.minimum), (high, torch.maximum)):
            view = boxes.cut(bound, tile.box)
            view.copy_(pick(view, value))
    return error.detach() - error.detach().clamp(low, high)


def _shifts(error: Tensor, tiles: TileGrid) -> Tensor:
    boxes = BoxLayout(tiles.axes, (1,) * len(tiles.axes))
    # Where three tiles meet, a core can be empty. Then the median is taken over the whole tile.
    judged = (tile.core_box if all(map(len, tile.core_box)) else tile.box for tile in tiles.tiles)
    return torch.stack([_median(boxes.cut(error, box)) for box in judged])


def _median(cells: Tensor) -> Tensor:
    return cells.transpose(0, 1).flatten(1).median(dim=1).values
