"""The cascade merge: diffusers' in-place blend of overlapping tiles, equal in every bit.

diffusers goes through the tiles in row-major order and blends each one in place, first with its upper and then with its
left neighbour. Both have been blended before. So the order of tiles matters: it decides the weights. Classes that tile
in time merge each slab in this way first, and then blend the merged slabs.

A rank can still blend its own tiles without the rest of the sample. Take a tile D and its neighbours A, B and C:

    A | B     D's share (from D's start to the next tile's start) contains four overlapping pieces:
    --+--     a corner of A, an edge of B along the top, an edge of C along the left, and D's own cells.
    C | D

diffusers blends the edge of B with the corner of A, then the edge of C with the corner of A, then D with the edge of B,
and last D with the edge of C. In a pairwise grid, no other blend writes to these pieces. So this is a cascade over
2 x 2 raw pieces, and :func:`cascade_share` runs it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from toolkit.geometry.grid import TileGrid
from toolkit.geometry.span import shares
from toolkit.numerics.boxes import BoxLayout


def blend_into(tile: Tensor, before: Tensor, *, dim: int, size: int) -> None:
    """Blend the last ``size`` cells of ``before`` into the first ``size`` cells of ``tile`` along ``dim``, in place.

    Equal in every bit to ``blend_v`` and ``blend_h`` of diffusers, which go row by row. Both round each product to the
    tensor's dtype before they add the two.

    Args:
        tile: The later tile. Only its first ``size`` cells are written.
        before: The earlier tile, of the same size along every other dim.
        dim: The dim along which the tiles overlap, counted from the end.
        size: The overlap in cells.

    Example:
        >>> a, b = torch.zeros(1, 1, 4, 1), torch.ones(1, 1, 4, 1)
        >>> blend_into(b, a, dim=-2, size=2)
        >>> b.flatten().tolist()
        [0.0, 0.5, 1.0, 1.0]
    """
    if size == 0:
        return
    # diffusers multiplies by Python floats. For a narrow dtype, torch's kernels convert such a number to float32, not
    # to the dtype. So the weights are rounded in the same way here.
    wide = torch.float64 if tile.dtype == torch.float64 else torch.float32
    steps = [step / size for step in range(size)]
    shape = [size if d == tile.ndim + dim else 1 for d in range(tile.ndim)]
    rise = torch.tensor(steps, dtype=torch.float64).to(wide).to(tile.device).view(shape)
    fall = torch.tensor([1 - s for s in steps], dtype=torch.float64).to(wide).to(tile.device).view(shape)
    head = tile.narrow(dim, 0, size)
    tail = before.narrow(dim, before.shape[dim] - size, size)
    head.copy_((tail * fall).to(tile.dtype) + (head * rise).to(tile.dtype))


def cascade_share(
    share: Tensor, edges: Mapping[tuple[int, ...], Tensor], *, boxes: BoxLayout, overlaps: tuple[int, ...]
) -> None:
    """Blend one tile's share in place, from its own raw cells and the raw edges of the tiles before it.

    The edges and the share form a small grid with two pieces along each axis. The cascade over this grid gives the
    share the same values as the cascade over the whole grid.

    Args:
        share: The raw share of the tile.
        edges: Raw edges by offset (number of tiles back along each axis). They may be blended in place.
        boxes: Where latent boxes lie in the tensors.
        overlaps: Overlap with the tile before along each axis, in sample cells.
    """
    # An offset of 1 is the tile before along that axis, 0 the tile itself: (1, 1) is the corner, (0, 0) the share.
    # Offsets in descending order are row-major order: the corner first, the share last.
    pieces = {**edges, (0,) * len(boxes.axes): share}
    space = [axis for axis, name in enumerate(boxes.axes) if name != "t"]
    for offset in sorted(pieces, reverse=True):
        for axis in space:
            before = (*offset[:axis], 1, *offset[axis + 1 :])
            if offset[axis] == 0 and before in pieces:
                blend_into(pieces[offset], pieces[before], dim=boxes.dims[axis], size=overlaps[axis])
    # Time comes last: diffusers blends each slab into the next when both have been merged in space.
    for axis in set(range(len(boxes.axes))) - set(space):
        before = tuple(int(place == axis) for place in range(len(boxes.axes)))
        if before in pieces:
            blend_into(share, pieces[before], dim=boxes.dims[axis], size=overlaps[axis])


def cascade_merge(tiles: Iterable[Tensor], grid: TileGrid, *, boxes: BoxLayout, canvas: Tensor) -> None:
    """Merge whole raw tiles into ``canvas``. Works for any overlap, also where three tiles meet.

    Args:
        tiles: The tiles in row-major order. They are blended in place. One row of the grid is held at a time and, with
            a time axis, two merged slabs.
        grid: Where the tiles lie, in latent cells.
        boxes: Where latent boxes lie in the tensors.
        canvas: The tensor to fill.
    """
    if grid.axes[0] != "t" or len(grid.axes) == 1:
        _merge_slab(tiles, grid, boxes=boxes, canvas=canvas)
        return
    tiles = iter(tiles)
    (row, *rest), dim = grid.rows, boxes.dims[0]
    slab_grid = TileGrid(grid.axes[1:], tuple(rest))
    slab_boxes = BoxLayout(boxes.axes[1:], boxes.ratios[1:], boxes.firsts[1:])
    time = BoxLayout(boxes.axes[:1], boxes.ratios[:1], boxes.firsts[:1])
    before = None
    for place, (span, share) in enumerate(zip(row, shares(row), strict=True)):
        slab = canvas.new_empty(time.shape(canvas.shape, (span,)))
        _merge_slab(itertools.islice(tiles, len(slab_grid)), slab_grid, boxes=slab_boxes, canvas=slab)
        if before is not None:
            (size,) = time.overlaps((row,), (place,))
            blend_into(slab, before, dim=dim, size=size)
        time.cut(canvas, (share,)).copy_(time.cut(slab, (share,), (span,)))
        before = slab


def _merge_slab(tiles: Iterable[Tensor], grid: TileGrid, *, boxes: BoxLayout, canvas: Tensor) -> None:
    held: dict[tuple[int, ...], Tensor] = {}
    for tile, raw in zip(grid.tiles, tiles, strict=True):
        overlaps = boxes.overlaps(grid.rows, tile.position)
        for axis, (dim, place) in enumerate(zip(boxes.dims, tile.position, strict=True)):
            if place:
                before = held[(*tile.position[:axis], place - 1, *tile.position[axis + 1 :])]
                blend_into(raw, before, dim=dim, size=overlaps[axis])
        held[tile.position] = raw
        boxes.cut(canvas, tile.share_box).copy_(boxes.cut(raw, tile.share_box, tile.box))
        # The last tile to read a tile is the next one along the first axis. That one is done now.
        held.pop((tile.position[0] - 1, *tile.position[1:]), None)
