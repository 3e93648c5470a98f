"""The window merge: a weighted sum of tiles whose weights are normalised to one at every cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from einops import rearrange
from torch import Tensor

from toolkit.geometry.blend import Ramp
from toolkit.geometry.grid import TileGrid
from toolkit.numerics.boxes import BoxLayout
from toolkit.numerics.ramps import rising, windows

_AS_DIM = {-3: "n -> n 1 1", -2: "n -> n 1", -1: "n -> n"}


def window_share(
    share: Tensor,
    edges: Mapping[tuple[int, ...], Tensor],
    boxes: BoxLayout,
    overlaps: tuple[int, ...],
    ramp: Ramp,
) -> None:
    """Finish one tile's share in place, from its own raw cells and the raw edges of the tiles before it.

    Terms are added in one fixed order (own cells, then edges from the farthest), so the bits do not depend on where or
    when the tiles were computed.

    Args:
        share: the raw share of the tile.
        edges: raw edges by offset (how many tiles back along each axis).
        boxes: Where latent boxes lie in the tensors.
        overlaps: overlap with the tile before along each axis, in sample cells.
        ramp: the weights over an overlap.
    """
    wide = _wide(share)
    rises = [rising(ramp, size).to(share.device) for size in overlaps]
    # In a copy, wide, because products and sums would be rounded to a narrow dtype each time.
    total = share.to(wide, copy=True)
    for dim, rise in zip(boxes.dims, rises, strict=True):
        total.narrow(dim, 0, len(rise)).mul_(_along(rise, dim, wide))
    for offset in sorted(edges, reverse=True):
        term, region = edges[offset].to(wide, copy=True), total
        for step, dim, rise in zip(offset, boxes.dims, rises, strict=True):
            if step:
                term.mul_(_along(1 - rise, dim, wide))
                region = region.narrow(dim, 0, len(rise))
            else:
                term.narrow(dim, 0, len(rise)).mul_(_along(rise, dim, wide))
        region.add_(term)
    share.copy_(total)


def window_merge(tiles: Iterable[Tensor], grid: TileGrid, boxes: BoxLayout, ramp: Ramp, canvas: Tensor) -> None:
    """Merge whole raw tiles, given in row-major order, into ``canvas``. Works for any overlap."""
    firsts = boxes.firsts or boxes.ratios
    rows = [windows(row, ratio, ramp, first) for row, ratio, first in zip(grid.rows, boxes.ratios, firsts, strict=True)]
    wide = _wide(canvas)
    total = torch.zeros_like(canvas, dtype=wide)
    for tile, raw in zip(grid.tiles, tiles, strict=True):
        term = raw.to(wide, copy=True)
        for dim, row, place in zip(boxes.dims, rows, tile.position, strict=True):
            term.mul_(_along(row[place].to(canvas.device), dim, wide))
        boxes.cut(total, tile.box).add_(term)
    canvas.copy_(total)


def merge(tiles: Sequence[Tensor], grid: TileGrid, ramp: Ramp = "linear", ratio: int = 1) -> Tensor:
    """Merge the tiles of a grid in this process, by the window merge.

    Args:
        tiles: one ``... h w`` (or ``... t h w``) tensor per tile, row-major, ``ratio`` times the tile's spans.
        grid: where they lie.
        ramp: the weights over an overlap.
        ratio: sample cells per latent cell along every axis.

    Returns:
        The merged sample, of the tiles' dtype.

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
    window_merge(tiles, grid, boxes, ramp, canvas)
    return canvas


def _along(weights: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """A row of weights, shaped to multiply a tensor along ``dim`` (counted from the end)."""
    return rearrange(weights.to(dtype), _AS_DIM[dim])


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
