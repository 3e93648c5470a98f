"""The cascade merge: diffusers' in-place blend of overlapping tiles, bit for bit.

diffusers blends each tile, in row-major order, into its upper neighbour and then into its left one, in place; both are
already blended by then. The weights follow from that order, so the order is part of the result. Classes that tile in
time merge each picture in this way first, and then blend the merged pictures.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from toolkit.geometry.grid import TileGrid
from toolkit.geometry.span import shares
from toolkit.numerics.boxes import BoxLayout


def blend_into(tile: Tensor, before: Tensor, dim: int, size: int) -> None:
    """Ramp the first ``size`` cells of ``tile`` along ``dim`` in from the last ones of ``before``, in place.

    Equal in every bit to diffusers' row-by-row ``blend_v`` and ``blend_h``: there, as here, each product is rounded to
    the tensor's dtype before the two are added.

    Args:
        tile: the later tile; only its first ``size`` cells are written.
        before: the earlier tile, of the same size along every other dim.
        dim: the dim along which they overlap.
        size: the overlap in cells.

    Example:
        >>> a, b = torch.zeros(1, 1, 4, 1), torch.ones(1, 1, 4, 1)
        >>> blend_into(b, a, dim=-2, size=2)
        >>> b.flatten().tolist()
        [0.0, 0.5, 1.0, 1.0]
    """
    if size == 0:
        return
    # Weights in the precision in which kernels multiply by a Python number.
    wide = torch.float64 if tile.dtype == torch.float64 else torch.float32
    steps = [step / size for step in range(size)]
    shape = [size if d == tile.ndim + dim else 1 for d in range(tile.ndim)]
    rise = torch.tensor(steps, dtype=torch.float64).to(wide).to(tile.device).view(shape)
    fall = torch.tensor([1 - s for s in steps], dtype=torch.float64).to(wide).to(tile.device).view(shape)
    head = tile.narrow(dim, 0, size)
    tail = before.narrow(dim, before.shape[dim] - size, size)
    head.copy_((tail * fall).to(tile.dtype) + (head * rise).to(tile.dtype))


def cascade_share(
    share: Tensor, edges: Mapping[tuple[int, ...], Tensor], boxes: BoxLayout, overlaps: tuple[int, ...]
) -> None:
    """Finish one tile's share in place, from its own raw cells and the raw edges of the tiles before it.

    The edges and the share are a small grid of their own, two pieces along each axis: the cascade over it, in
    row-major order, leaves in the share what the cascade over the whole grid would.

    Args:
        share: the raw share of the tile.
        edges: raw edges by offset (how many tiles back along each axis); may be blended in place.
        boxes: Where latent boxes lie in the tensors.
        overlaps: overlap with the tile before along each axis, in sample cells.
    """
    pieces = {**edges, (0,) * len(boxes.axes): share}
    space = [axis for axis, name in enumerate(boxes.axes) if name != "t"]
    for offset in sorted(pieces, reverse=True):
        for axis in space:
            before = (*offset[:axis], 1, *offset[axis + 1 :])
            if offset[axis] == 0 and before in pieces:
                blend_into(pieces[offset], pieces[before], boxes.dims[axis], overlaps[axis])
    # Time comes last: diffusers blends whole pictures, already merged, one into the next.
    for axis in set(range(len(boxes.axes))) - set(space):
        before = tuple(int(place == axis) for place in range(len(boxes.axes)))
        if before in pieces:
            blend_into(share, pieces[before], boxes.dims[axis], overlaps[axis])


def cascade_merge(tiles: Iterable[Tensor], grid: TileGrid, boxes: BoxLayout, canvas: Tensor) -> None:
    """Merge whole raw tiles, given in row-major order, into ``canvas``. Works for any overlap.

    Tiles are blended in place. One row of the grid is held at a time; with an axis of time, two merged pictures.
    """
    if grid.axes[0] != "t" or len(grid.axes) == 1:
        _merge_pictures(tiles, grid, boxes, canvas)
        return
    tiles = iter(tiles)
    (row, *rest), dim = grid.rows, boxes.dims[0]
    picture_grid = TileGrid(grid.axes[1:], tuple(rest))
    picture_boxes = BoxLayout(boxes.axes[1:], boxes.ratios[1:], boxes.firsts[1:])
    time = BoxLayout(boxes.axes[:1], boxes.ratios[:1], boxes.firsts[:1])
    before = None
    for place, (span, share) in enumerate(zip(row, shares(row), strict=True)):
        picture = canvas.new_empty(time.shape(canvas.shape, (span,)))
        _merge_pictures(itertools.islice(tiles, len(picture_grid)), picture_grid, picture_boxes, picture)
        if before is not None:
            blend_into(picture, before, dim, *time.overlaps((row,), (place,)))
        time.cut(canvas, (share,)).copy_(time.cut(picture, (share,), (span,)))
        before = picture


def _merge_pictures(tiles: Iterable[Tensor], grid: TileGrid, boxes: BoxLayout, canvas: Tensor) -> None:
    held: dict[tuple[int, ...], Tensor] = {}
    for tile, raw in zip(grid.tiles, tiles, strict=True):
        overlaps = boxes.overlaps(grid.rows, tile.position)
        for axis, (dim, place) in enumerate(zip(boxes.dims, tile.position, strict=True)):
            if place:
                before = held[(*tile.position[:axis], place - 1, *tile.position[axis + 1 :])]
                blend_into(raw, before, dim, overlaps[axis])
        held[tile.position] = raw
        boxes.cut(canvas, tile.share_box).copy_(boxes.cut(raw, tile.share_box, tile.box))
        # Of the tiles that blend with a tile, the one a step on along the first axis comes last.
        held.pop((tile.position[0] - 1, *tile.position[1:]), None)
