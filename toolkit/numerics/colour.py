"""Error in the colour of whole tiles, apart from error at their seams."""

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
    """The signed shift of each tile's colour: the median of ``a - b`` over its core, channel by channel.

    A tile that came out brighter as a whole shifts by just that; a thin line at a seam does not move a
    median.

    Args:
        a: ``b c h w`` or ``b c t h w``.
        b: the reference, of the same shape.
        grid: the tiles, in latent cells; the whole sample as one tile where None.
        ratio: sample cells per latent cell along each axis; from the shape where None.

    Returns:
        ``tile c``, rows in the order of ``grid.tiles``.

    Example:
        >>> a = torch.zeros(1, 1, 4, 16)
        >>> a[..., 8:] = 0.5
        >>> colour_shift(a, torch.zeros_like(a), TileGrid.cover({"w": 4}, tile=2)).tolist()
        [[0.0], [0.5]]
    """
    error = difference(a, b)
    if grid is None:
        return _median(error)[None]
    return _shifts(error, sample_grid(grid, error.shape, ratio or sample_ratio(error.shape, grid)))


def without_shift(error: Tensor, grid: TileGrid, ratio: Mapping[str, int]) -> Tensor:
    """What no blend of the tiles' colour shifts explains of an error.

    A blend of tiles whose colours are shifted lies between their shifts. What sticks out of that interval
    remains, so a step or a ramp from one tile's colour to the next leaves 0, and a line at the seam stays
    whole.

    Example:
        >>> error = torch.tensor([0.0, 0.0, 0.0, 0.25, 0.5, 0.5, 0.75, 0.5]).view(1, 1, 1, 8)
        >>> without_shift(error, TileGrid.cover({"w": 8}, tile=5, overlap=2), {"w": 1}).flatten().tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25, 0.0]
    """
    tiles = sample_grid(grid, error.shape, ratio)
    boxes = BoxLayout(tiles.axes, (1,) * len(tiles.axes))
    shape = [1] * error.ndim
    for dim in (1 - error.ndim, *boxes.dims):
        shape[dim] = error.shape[dim]
    low, high = error.new_full(shape, inf), error.new_full(shape, -inf)
    for tile, shift in zip(tiles.tiles, _shifts(error.detach(), tiles), strict=True):
        value = shift.view(-1, *(1,) * (error.ndim - 2))
        for bound, pick in ((low, torch.minimum), (high, torch.maximum)):
            view = boxes.cut(bound, tile.box)
            view.copy_(pick(view, value))
    return error.detach() - error.detach().clamp(low, high)


def _shifts(error: Tensor, tiles: TileGrid) -> Tensor:
    boxes = BoxLayout(tiles.axes, (1,) * len(tiles.axes))
    # A core can be empty where three tiles meet: such a tile is judged by its whole box.
    judged = (tile.core_box if all(map(len, tile.core_box)) else tile.box for tile in tiles.tiles)
    return torch.stack([_median(boxes.cut(error, box)) for box in judged])


def _median(cells: Tensor) -> Tensor:
    return cells.transpose(0, 1).flatten(1).median(dim=1).values
