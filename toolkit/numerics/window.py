"""The window merge: a weighted sum of tiles. The weights add up to one at every cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from einops import rearrange
from torch import Tensor

from toolkit.geometry.blend import Ramp
from toolkit.geometry.grid import TileGrid
from toolkit.numerics.boxes import BoxLayout
from toolkit.numerics.ramps import rising, tile_weights

_AS_DIM = {-3: "n -> n 1 1", -2: "n -> n 1", -1: "n -> n"}


def window_share(
    share: Tensor,
    edges: Mapping[tuple[int, ...], Tensor],
    *,
    boxes: BoxLayout,
    overlaps: tuple[int, ...],
    ramp: Ramp,
) -> None:
    """Blend one tile's share in place, from its own raw cells and the raw edges of the tiles before it.

    Terms are added in a fixed order (own cells, then edges from the farthest to the nearest), so no bit of the result
    depends on where or when the tiles were computed.

    Args:
        share: The raw share of the tile.
        edges: Raw edges by offset (number of tiles back along each axis).
        boxes: Where latent boxes lie in the tensors.
        overlaps: Overlap with the tile before along each axis, in sample cells.
        ramp: The weights over an overlap.
    """
    wide = _wide(share)
    rises = [rising(ramp, size).to(share.device) for size in overlaps]
    # Add up in a wide copy: in a narrow dtype, every product and every sum would be rounded.
    total = share.to(wide, copy=True)
    for dim, rise in zip(boxes.dims, rises, strict=True):
        total.narrow(dim, 0, len(rise)).mul_(_along(rise, dim, wide))
    for offset in sorted(edges, reverse=True):
        # Along an axis with offset 1, the edge covers the overlap at the start of the share, and its weights fall.
        # Along the other axes it is as long as the share, and rises over the overlap like the share itself.
        term, region = edges[offset].to(wide, copy=True), total
        for step, dim, rise in zip(offset, boxes.dims, rises, strict=True):
            if step:
                term.mul_(_along(1 - rise, dim, wide))
                region = region.narrow(dim, 0, len(rise))
            else:
                term.narrow(dim, 0, len(rise)).mul_(_along(rise, dim, wide))
        region.add_(term)
    share.copy_(total)


def window_merge(tiles: Iterable[Tensor], grid: TileGrid, *, boxes: BoxLayout, ramp: Ramp, canvas: Tensor) -> None:
    """Merge whole raw tiles, in row-major order, into ``canvas``. Works for any overlap."""
    firsts = boxes.firsts or boxes.ratios
    rows = [
        tile_weights(row, ratio, ramp=ramp, first=first)
        for row, ratio, first in zip(grid.rows, boxes.ratios, firsts, strict=True)
    ]
    wide = _wide(canvas)
    total = torch.zeros_like(canvas, dtype=wide)
    for tile, raw in zip(grid.tiles, tiles, strict=True):
        term = raw.to(wide, copy=True)
        for dim, row, place in zip(boxes.dims, rows, tile.position, strict=True):
            term.mul_(_along(row[place].to(canvas.device), dim, wide))
        boxes.cut(total, tile.box).add_(term)
    canvas.copy_(total)


def merge(tiles: Sequence[Tensor], grid: TileGrid, *, ramp: Ramp = "linear", ratio: int = 1) -> Tensor:
    """Merge the tiles of a grid in this process, with the window merge.

    Args:
        tiles: One tensor ``... h w`` (or ``... t h w``) per tile in row-major order, ``ratio`` times the tile's size.
        grid: Where the tiles lie.
        ramp: The weights over an overlap.
        ratio: Sample cells per latent cell along every axis.

    Returns:
        The merged sample, in the dtype of the tiles.

    Example:
        >>> grid = TileGrid.cover({"h": 5, "w": 7}, tile=4, overlap=2)
        >>> image = torch.arange(35.0).view(1, 1, 5, 7)
        >>> boxes = BoxLayout(grid.axes, (1, 1))
        >>> bool((merge([boxes.cut(image, tile.box) for tile in grid.tiles], grid) - image).abs().max() < 1e-5)
        True
    """
    boxes = BoxLayout(grid.axes, (ratio,) * len(grid.axes))
    whole = tuple(type(row[0])(0, row[-1].stop) for row in grid.rows)
    canvas = tiles[0].new_empty(boxes.shape(tiles[0].shape, whole))
    window_merge(tiles, grid, boxes=boxes, ramp=ramp, canvas=canvas)
    return canvas


def _along(weights: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """Reshape weights so that they multiply a tensor along ``dim`` (counted from the end)."""
    return rearrange(weights.to(dtype), _AS_DIM[dim])


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
