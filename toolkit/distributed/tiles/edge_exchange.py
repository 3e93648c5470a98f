"""Edges between tiles on different ranks: when each is sent and received, in one order for all ranks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.message import Message
from toolkit.geometry.edges import Edge, edges_of
from toolkit.geometry.grid import Tile
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.runs.trace import Label


class EdgeExchange:
    """The edges into one rank's tiles, from its own tiles and from other ranks.

    All edges between ranks have one order, the same on every rank, and each rank has one queue: the edges that it sends
    or receives, in this order. Nothing is started before what is ahead of it in the queue. The order is by *round*: the
    n-th tile of a rank is its round n, and an edge belongs to the later of the rounds of its two tiles, because then
    both ranks are ready for it. Two ranks that own the tiles 0 2 and 1 3 of a row, with the edge from tile 1 to tile 2
    written ``1>2``:

        rank 0    tile 0, send 0>1;   tile 2, receive 1>2, send 2>3
        rank 1    tile 1, receive 0>1;   tile 3, send 1>2, receive 2>3

    So the n-th message between two ranks is the same edge for both: no tags, no metadata. And because all ranks follow
    one order, this is right on backends that hold a rank's transfers in one queue and buffer nothing: see
    comm/queue_check.py.

    Why no assignment can deadlock: computing a tile waits for nobody, and neither do the transfers that are started
    between tiles. A rank waits only at the end, when all its tiles are computed. By then it has started every transfer
    of its queue (``post`` with every tile computed stops at nothing), and the other ranks do the same in their own
    time. So the first edge, in the order of all, that has not happened has been started by both of its ranks.

    Args:
        coder: The shapes of edges.
        plan: The tiles and their ranks.
        exchange: The messages.
    """

    def __init__(self, coder: TileCoder, plan: TilePlan, exchange: Exchange) -> None:
        self.coder, self.link, self.owners = coder, exchange, plan.assignment.owners
        self.me = exchange.member.rank
        self._local: list[tuple[Edge, Tensor]] = []
        self._leaving: dict[Edge, Tensor] = {}
        self._posted: deque[tuple[Edge, Message]] = deque()
        own = edges_of(plan.grid, self.owners, self.me)
        mine = [edge for edge in own if self.owners[edge.source] != self.owners[edge.target]]
        mine.sort(key=edge_order(plan))
        # Streamed tiles put the shares of tiles into this queue as well: see streaming.py.
        self._queue: deque[Edge | Tile] = deque(mine)

    def peer_of(self, edge: Edge) -> int:
        """The rank at the other end of an edge."""
        source = self.owners[edge.source]
        return self.owners[edge.target] if source == self.me else source

    def hand_on(self, edge: Edge, piece: Tensor) -> None:
        """Take over an edge of a tile that this rank has just computed, for whoever needs it."""
        # Copies in both cases: a view would keep the whole raw tile in memory, and the cascade blends edges in place.
        if self.owners[edge.target] == self.me:
            self._local.append((edge, piece.clone()))
        else:
            self._leaving[edge] = piece.clone(memory_format=torch.contiguous_format)

    def post(self, computed: int) -> bool:
        """Start every transfer whose turn it is, when this rank's tiles up to index ``computed`` are done.

        Returns:
            Whether there was one.
        """
        waiting = len(self._queue)
        while self._queue and self.start(self._queue[0], computed):
            self._queue.popleft()
        return len(self._queue) < waiting

    def start(self, item: Edge | Tile, computed: int) -> bool:
        """Start the transfer at the front of the queue if this rank is ready for it; return whether it was."""
        assert isinstance(item, Edge)
        peer = self.peer_of(item)
        if item in self._leaving:
            self.link.send(self._leaving.pop(item), peer, _label(item))
        elif self.owners[item.target] == self.me and item.target <= computed:
            # Not earlier, although it could be: until its target is computed, the buffer would only take up memory.
            message = self.link.receive(self.coder.raw_shape(item.box), self.coder.dtype, peer, _label(item))
            self._posted.append((item, message))
        else:
            return False
        return True

    def arrived(self) -> Iterator[tuple[Edge, Tensor]]:
        """Yield the edges that are there, without waiting for others."""
        ready, waiting = deque[tuple[Edge, Message]](), deque[tuple[Edge, Message]]()
        for entry in self._posted:
            (ready if self.link.arrived(entry[1]) else waiting).append(entry)
        self._posted = waiting
        local, self._local = self._local, []
        yield from local
        yield from ((edge, self.link.take(message)) for edge, message in ready)

    def remaining(self) -> Iterator[tuple[Edge, Tensor]]:
        """Yield all edges that are still to come, waiting for each."""
        while self._posted:
            edge, message = self._posted.popleft()
            yield edge, self.link.take(message)


def edge_order(plan: TilePlan) -> Callable[[Edge], tuple[int, int, int]]:
    """The order in which all ranks transfer the edges of a plan, as a key for sorting: see :class:`EdgeExchange`."""
    # How many tiles of its rank come before each tile.
    done, rounds = [0] * plan.assignment.ranks, []
    for owner in plan.assignment.owners:
        rounds.append(done[owner])
        done[owner] += 1
    return lambda edge: (max(rounds[edge.source], rounds[edge.target]), edge.target, edge.source)


def _label(edge: Edge) -> Label:
    return Label(tile=edge.source, purpose="edge", text=f"to tile {edge.target}")
