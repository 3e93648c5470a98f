"""Tiles of which at most two meet along an axis: every rank blends its own tiles' *shares*.

A tile's share is the part of the output that its rank completes. It begins where the tile begins and ends where the
next tile begins. So it holds the tile's overlap with the tile before, and none with the tile after. Three tiles along
one axis, each with an overlap (``=``) of three cells:

    cells          0    5    10   15   20   25
    tile 0         --------===                        overlap with tile 1
    tile 1                 ===------===               overlaps with tiles 0 and 2
    tile 2                          ===--------
    shares         [ 0    ][ 1     ][ 2       ]

To complete its share, tile 1 needs the last three cells of tile 0: the *edge* from 0 to 1. Nothing has been blended
into an edge, because at most two tiles meet there. So a rank that has computed a tile

    1. keeps a copy of its share,
    2. hands its edges to the tiles after it, on this rank or another (in 2-D: to the right, below, and diagonally),
    3. drops the rest of the raw tile,

and blends a share as soon as all edges into it are there. Blended shares travel to the root once, each.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.message import Message
from toolkit.distributed.comm.rank import Repeated, as_it_is
from toolkit.distributed.tiles.edge_exchange import EdgeExchange
from toolkit.geometry.blend import Blend
from toolkit.geometry.edges import Edge, edges_of
from toolkit.geometry.grid import Tile
from toolkit.geometry.tile_plan import RECEIVES_IN_FLIGHT, TilePlan
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.numerics.boxes import BoxLayout
from toolkit.numerics.cascade import cascade_share
from toolkit.numerics.window import window_share
from toolkit.runs.device import synchronise
from toolkit.runs.trace import Kind, Label, Recorder


def compute_shares(
    coder: TileCoder,
    x: Tensor,
    *,
    plan: TilePlan,
    exchange: Exchange,
    trace: Recorder,
    repeated: Repeated = as_it_is,
) -> Tensor | None:
    """Compute this rank's tiles, blend their shares, and bring all shares to the root.

    Args:
        coder: The model and its grid.
        x: The whole input.
        plan: The tiles and their ranks.
        exchange: Messages to the other ranks.
        trace: Records what this rank does.
        repeated: See :class:`toolkit.distributed.comm.rank.Rank`.

    Returns:
        The merged output on the root, before what the class does once after its merge; None on the other ranks.
    """
    me = exchange.member.rank
    canvas = coder.canvas() if me == plan.root else None
    view = None if canvas is None else coder.raw_view(canvas)
    shares = Shares(coder, plan, me=me, view=view, repeated=repeated)
    edges = EdgeExchange(coder, plan, exchange)
    for index in plan.assignment.tiles_of(me):
        compute_tile(coder, x, tile=plan.grid.tiles[index], shares=shares, edges=edges, trace=trace)
        edges.post(computed=index)
        # Blend what is complete already: it frees the edges, and the last tile leaves less to do.
        blend_shares(shares, edges.arrived(), trace=trace, computed=index)
    edges.post(computed=len(plan.grid))
    blend_shares(shares, edges.remaining(), trace=trace)
    if canvas is None:
        _deliver(shares, exchange, root=plan.root)
    else:
        _collect(shares, exchange)
    exchange.flush()
    return canvas


def compute_tile(
    coder: TileCoder, x: Tensor, *, tile: Tile, shares: Shares, edges: EdgeExchange, trace: Recorder
) -> None:
    """Compute a tile, keep its share, hand its edges on, and drop the rest."""
    with trace(Kind.DECODE, Label(tile=tile.index)):
        raw = coder(x, tile)
        synchronise(coder.device)
    shares.keep(tile, raw)
    for edge in shares.edges_from(tile.index):
        edges.hand_on(edge, coder.boxes.cut(raw, edge.box, tile.box))


class Shares:
    """The shares that one rank holds: raw at first, blended once all edges into them are there.

    Args:
        coder: The shapes, and where boxes lie in tensors.
        plan: The tiles and their ranks.
        me: This rank.
        view: On the root: the output, as raw tiles lie in it. The root's shares are kept there and nowhere else.
        repeated: See :class:`toolkit.distributed.comm.rank.Rank`.

    Attributes:
        held: The shares by tile.
    """

    def __init__(
        self, coder: TileCoder, plan: TilePlan, *, me: int, view: Tensor | None, repeated: Repeated = as_it_is
    ) -> None:
        self.coder, self.plan, self.me, self.view = coder, plan, me, view
        self._blend = repeated(blend_share)
        self.held: dict[int, Tensor] = {}
        self._edges: dict[int, dict[tuple[int, ...], Tensor]] = defaultdict(dict)
        self._missing: dict[int, int] = defaultdict(int)
        self._leaving: dict[int, list[Edge]] = defaultdict(list)
        self._blended: set[int] = set()
        for edge in edges_of(plan.grid, plan.assignment.owners, me):
            self._missing[edge.target] += 1
            self._leaving[edge.source].append(edge)

    def edges_from(self, source: int) -> list[Edge]:
        """List the edges of tile ``source`` that later tiles need."""
        return self._leaving[source]

    def keep(self, tile: Tile, raw: Tensor) -> None:
        """Keep the share of a raw tile."""
        part = self.coder.boxes.cut(raw, tile.share_box, tile.box)
        if self.view is None:
            # A copy: a view would keep the whole raw tile in memory.
            self.held[tile.index] = part.clone(memory_format=torch.contiguous_format)
        else:
            self.held[tile.index] = self.place(tile, part)

    def place(self, tile: Tile, part: Tensor) -> Tensor:
        """Write a share into the output; return the view of it there."""
        assert self.view is not None
        return self.coder.boxes.cut(self.view, tile.share_box).copy_(part)

    def add_edge(self, edge: Edge, piece: Tensor) -> None:
        """Add an edge into one of this rank's tiles."""
        self._edges[edge.target][edge.offset] = piece

    def ready(self, index: int) -> bool:
        """Whether the share of tile ``index`` can be blended: it is computed, its edges are there, it is not done yet.

        A tile without edges, such as the first, is never ready: there is nothing to blend.
        """
        return index in self.held and index in self._edges and len(self._edges[index]) == self._missing[index]

    def final(self, index: int) -> bool:
        """Whether this rank holds the share of tile ``index`` and nothing will change it any more."""
        return index in self.held and (index in self._blended or not self._missing[index])

    def blend(self, index: int) -> None:
        """Blend a share with its edges, and drop the edges."""
        edges, share = self._edges.pop(index), self.held[index]
        self._blended.add(index)
        boxes = self.coder.boxes
        overlaps = boxes.overlaps(self.plan.grid.rows, self.plan.grid.tiles[index].position)
        self._blend(None, share, edges, boxes=boxes, overlaps=overlaps, blend=self.plan.blend)


def blend_share(
    _: None,
    share: Tensor,
    edges: Mapping[tuple[int, ...], Tensor],
    *,
    boxes: BoxLayout,
    overlaps: tuple[int, ...],
    blend: Blend,
) -> None:
    """Blend a share with its edges in place; it gets no message meanwhile.

    Args:
        share: The raw share of a tile.
        edges: The raw edges into it, by offset.
        boxes: Where latent boxes lie in the tensors.
        overlaps: Overlap with the tile before along each axis, in sample cells.
        blend: How tiles are blended.
    """
    if blend.merge == "cascade":
        cascade_share(share, edges, boxes=boxes, overlaps=overlaps)
    else:
        window_share(share, edges, boxes=boxes, overlaps=overlaps, ramp=blend.ramp)


def blend_shares(shares: Shares, edges: Iterable[tuple[Edge, Tensor]], *, trace: Recorder, computed: int = -1) -> None:
    """Add edges, and blend each share that they complete.

    Args:
        shares: The shares of this rank.
        edges: Edges into its tiles.
        trace: Records what this rank does.
        computed: The tile that was just computed, whose edges may all have been there before; -1: none.
    """

    def blend(index: int) -> None:
        if shares.ready(index):
            with trace(Kind.BLEND, Label(tile=index), bytes=shares.held[index].nbytes):
                shares.blend(index)

    blend(computed)
    for edge, piece in edges:
        shares.add_edge(edge, piece)
        blend(edge.target)


def _deliver(shares: Shares, exchange: Exchange, *, root: int) -> None:
    """Send this rank's blended shares to the root, in the order of the tiles."""
    for index in sorted(shares.held):
        exchange.send(shares.held.pop(index), root, share_label(index))


def _collect(shares: Shares, exchange: Exchange) -> None:
    """Receive the other ranks' blended shares, and write them into the output."""
    owners, coder = shares.plan.assignment.owners, shares.coder
    # In the order of the tiles, as each rank sends its own. All edges between two ranks come before the shares.
    remote = deque(tile for tile in shares.plan.grid.tiles if owners[tile.index] != shares.me)
    posted: deque[tuple[Tile, Message]] = deque()
    while remote or posted:
        # A few at a time: the links stay busy, and the root needs memory for a few shares beside the output only.
        while remote and len(posted) < RECEIVES_IN_FLIGHT:
            tile = remote.popleft()
            shape = coder.raw_shape(tile.share_box)
            posted.append((tile, exchange.receive(shape, coder.dtype, owners[tile.index], share_label(tile.index))))
        tile, message = posted.popleft()
        shares.place(tile, exchange.take(message))


def share_label(index: int) -> Label:
    """The label of the message that takes the share of tile ``index`` to the root."""
    return Label(tile=index, purpose="share")
