"""Tiles over ranks where at most two meet along an axis: every rank finishes its own tiles' shares.

A tile's share holds its overlaps with earlier tiles and none with later ones. Once a rank has computed a tile it keeps
the share, hands the trailing edges on to the tiles after it, and drops the rest. A share is finished as soon as the
edges that it needs are there; finished shares travel to the root once.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange, Message
from toolkit.geometry.edges import Edge, all_edges
from toolkit.geometry.grid import Tile
from toolkit.geometry.tile_plan import RECEIVES_IN_FLIGHT, TilePlan
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.numerics.cascade import cascade_share
from toolkit.numerics.window import window_share
from toolkit.runs.device import synchronise
from toolkit.runs.trace import Kind, Label, Recorder


def compute_shares(coder: TileCoder, x: Tensor, plan: TilePlan, exchange: Exchange, trace: Recorder) -> Tensor | None:
    """Compute this rank's tiles, finish their shares, and bring all shares to the root.

    Returns:
        The merged output on the root, before what the class does once after its merge; None elsewhere.
    """
    me = exchange.member.rank
    canvas = coder.canvas() if me == plan.root else None
    shares = Shares(coder, plan, me, None if canvas is None else coder.raw_view(canvas))
    edges = EdgeExchange(coder, plan, exchange)
    for index in plan.assignment.tiles_of(me):
        compute_tile(coder, x, plan.grid.tiles[index], shares, edges, trace)
        edges.post(computed=index)
        finish_shares(shares, edges.arrived(), trace, computed=index)
    edges.post(computed=len(plan.grid))
    finish_shares(shares, edges.remaining(), trace)
    if canvas is None:
        _deliver(shares, exchange, plan.root)
    else:
        _collect(shares, exchange)
    exchange.flush()
    return canvas


def compute_tile(coder: TileCoder, x: Tensor, tile: Tile, shares: Shares, edges: EdgeExchange, trace: Recorder) -> None:
    """Compute a tile, keep its share, hand its edges on, and drop the rest."""
    with trace(Kind.DECODE, Label(tile=tile.index)):
        raw = coder(x, tile)
        synchronise(coder.device)
    shares.keep(tile, raw)
    for edge in shares.edges_from(tile.index):
        edges.hand_on(edge, coder.boxes.cut(raw, edge.box, tile.box))


class Shares:
    """The shares that one rank holds, raw until their edges are in.

    Args:
        coder: shapes and the frame.
        plan: the plan.
        me: this rank.
        view: the output as raw tiles lie in it, on the root: its shares are kept there and nowhere else.
    """

    def __init__(self, coder: TileCoder, plan: TilePlan, me: int, view: Tensor | None) -> None:
        self.coder, self.plan, self.me, self.view = coder, plan, me, view
        self.held: dict[int, Tensor] = {}
        self._edges: dict[int, dict[tuple[int, ...], Tensor]] = defaultdict(dict)
        self._missing: dict[int, int] = defaultdict(int)
        self._leaving: dict[int, list[Edge]] = defaultdict(list)
        self._finished: set[int] = set()
        for edge in all_edges(plan.grid):
            self._missing[edge.target] += 1
            self._leaving[edge.source].append(edge)

    def edges_from(self, source: int) -> list[Edge]:
        """The edges that later tiles need of tile ``source``."""
        return self._leaving[source]

    def keep(self, tile: Tile, raw: Tensor) -> None:
        """Keep the share of a raw tile."""
        part = self.coder.boxes.cut(raw, tile.share_box, tile.box)
        if self.view is None:
            self.held[tile.index] = part.clone(memory_format=torch.contiguous_format)
        else:
            self.held[tile.index] = self.place(tile, part)

    def place(self, tile: Tile, part: Tensor) -> Tensor:
        """Write a share into the output; returns the view of it there."""
        assert self.view is not None
        return self.coder.boxes.cut(self.view, tile.share_box).copy_(part)

    def add_edge(self, edge: Edge, piece: Tensor) -> None:
        """Take in an edge of one of this rank's tiles."""
        self._edges[edge.target][edge.offset] = piece

    def ready(self, index: int) -> bool:
        """Whether tile ``index`` is computed, its edges are all in, and it is not finished yet."""
        return index in self.held and index in self._edges and len(self._edges[index]) == self._missing[index]

    def final(self, index: int) -> bool:
        """Whether this rank holds the share of tile ``index`` and nothing of it will change."""
        return index in self.held and (index in self._finished or not self._missing[index])

    def finish(self, index: int) -> None:
        """Blend a share with its edges, which are dropped."""
        edges, share = self._edges.pop(index), self.held[index]
        self._finished.add(index)
        boxes, blend = self.coder.boxes, self.plan.blend
        overlaps = boxes.overlaps(self.plan.grid.rows, self.plan.grid.tiles[index].position)
        if blend.merge == "cascade":
            cascade_share(share, edges, boxes, overlaps)
        else:
            window_share(share, edges, boxes, overlaps, blend.ramp)


class EdgeExchange:
    """The edges that come to one rank's tiles, from its own tiles and from other ranks.

    With each peer there is one queue of edges, in the plan's order, that both ends work off in that order: sends when
    the source is computed, receives when the target is. No tags and no metadata are needed, and no order can deadlock.

    Args:
        coder: shapes.
        plan: the plan.
        exchange: the messages.
    """

    def __init__(self, coder: TileCoder, plan: TilePlan, exchange: Exchange) -> None:
        self.coder, self.link, self.owners = coder, exchange, plan.assignment.owners
        self.me = exchange.member.rank
        self._local: list[tuple[Edge, Tensor]] = []
        self._leaving: dict[Edge, Tensor] = {}
        self._posted: deque[tuple[Edge, Message]] = deque()
        self._queues: dict[int, deque[Edge]] = defaultdict(deque)
        for edge in plan.edges:
            ends = self.owners[edge.source], self.owners[edge.target]
            if self.me in ends:
                self._queues[ends[ends[0] == self.me]].append(edge)

    def hand_on(self, edge: Edge, piece: Tensor) -> None:
        """Take an edge of a tile that this rank has just computed to where it is needed."""
        if self.owners[edge.target] == self.me:
            self._local.append((edge, piece.clone()))
        else:
            self._leaving[edge] = piece.clone(memory_format=torch.contiguous_format)

    def post(self, computed: int) -> None:
        """Start every transfer whose turn it is, this rank's tiles up to index ``computed`` being done."""
        for peer, edges in self._queues.items():
            while edges and self.start(edges[0], peer, computed):
                edges.popleft()

    def start(self, edge: Edge, peer: int, computed: int) -> bool:
        """Start the transfer of an edge, if this rank is ready for it; whether it was."""
        if edge in self._leaving:
            self.link.send(self._leaving.pop(edge), peer, _label(edge))
        elif self.owners[edge.target] == self.me and edge.target <= computed:
            message = self.link.receive(self.coder.raw_shape(edge.box), self.coder.dtype, peer, _label(edge))
            self._posted.append((edge, message))
        else:
            return False
        return True

    def arrived(self) -> Iterator[tuple[Edge, Tensor]]:
        """The edges that are there, without waiting for others."""
        waiting = deque(entry for entry in self._posted if not entry[1].done.is_set())
        ready = [entry for entry in self._posted if entry not in waiting]
        self._posted = waiting
        local, self._local = self._local, []
        yield from local
        yield from ((edge, self.link.take(message)) for edge, message in ready)

    def remaining(self) -> Iterator[tuple[Edge, Tensor]]:
        """All edges that are still to come, waiting for them."""
        while self._posted:
            edge, message = self._posted.popleft()
            yield edge, self.link.take(message)


def finish_shares(shares: Shares, edges: Iterable[tuple[Edge, Tensor]], trace: Recorder, computed: int = -1) -> None:
    """Take in edges, and finish each share that is complete with them, or by having just been computed."""

    def finish(index: int) -> None:
        if shares.ready(index):
            with trace(Kind.BLEND, Label(tile=index), bytes=shares.held[index].nbytes):
                shares.finish(index)

    finish(computed)
    for edge, piece in edges:
        shares.add_edge(edge, piece)
        finish(edge.target)


def _deliver(shares: Shares, exchange: Exchange, root: int) -> None:
    """Send this rank's finished shares to the root, in the order of the tiles."""
    for index in sorted(shares.held):
        exchange.send(shares.held.pop(index), root, share_label(index))


def _collect(shares: Shares, exchange: Exchange) -> None:
    """Receive the other ranks' finished shares, several at a time, and write them into the output."""
    owners, coder = shares.plan.assignment.owners, shares.coder
    remote = deque(tile for tile in shares.plan.grid.tiles if owners[tile.index] != shares.me)
    posted: deque[tuple[Tile, Message]] = deque()
    while remote or posted:
        while remote and len(posted) < RECEIVES_IN_FLIGHT:
            tile = remote.popleft()
            shape = coder.raw_shape(tile.share_box)
            posted.append((tile, exchange.receive(shape, coder.dtype, owners[tile.index], share_label(tile.index))))
        tile, message = posted.popleft()
        shares.place(tile, exchange.take(message))


def share_label(index: int) -> Label:
    """The label of a message that takes the share of tile ``index`` to the root."""
    return Label(tile=index, purpose="share")


def _label(edge: Edge) -> Label:
    return Label(tile=edge.source, purpose="edge", text=f"to tile {edge.target}")
