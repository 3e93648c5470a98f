"""Tiles over ranks, streamed: bands of the output leave the root as they are finished, and no rank holds all of it.

A band is made of the shares of the tiles in one place along the grid's first axis. Every rank sends a share as soon as
nothing of it will change; the root gathers one band at a time, finishes it and hands it over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange, Message
from toolkit.distributed.tiles.shares import EdgeExchange, Shares, compute_tile, finish_shares, share_label
from toolkit.errors import PlanError
from toolkit.geometry.bands import Band, bands
from toolkit.geometry.edges import Edge
from toolkit.geometry.grid import Tile
from toolkit.geometry.plan import Plan
from toolkit.geometry.tile_plan import RECEIVES_IN_FLIGHT, TilePlan
from toolkit.models.autoencoders.tile_coder import TileCoder
from toolkit.runs.device import synchronise
from toolkit.runs.trace import Kind, Label, Recorder

Stream = Callable[[Tensor, int], object]
"""Called with a band and the place in the output where it starts, along the grid's first axis; bands come in order."""


def check_stream(plan: Plan) -> None:
    """Refuse plans that finish nothing before they finish everything.

    Raises:
        PlanError: For anything but tiles of which at most two meet along an axis.
    """
    grid = plan.require_seams("stream=", "hands over the output in bands of finished tiles")
    if not grid.pairwise:
        raise PlanError(
            f"stream= with {grid}: where three tiles meet along an axis, all tiles are blended together at the end; "
            "use an overlap of at most half a tile."
        )


def stream_shares(
    coder: TileCoder, x: Tensor, plan: TilePlan, exchange: Exchange, trace: Recorder, stream: Stream
) -> None:
    """Compute this rank's tiles; on the root, also hand the output over, band by band.

    Args:
        coder: the model and its grid.
        x: the whole input.
        plan: the tiles and their ranks.
        exchange: messages to the other ranks.
        trace: what this rank did.
        stream: takes the bands, on the root. A band is its own to keep; while it runs, the root does nothing else.
    """
    me = exchange.member.rank
    shares = Shares(coder, plan, me, None)
    transfers = Transfers(shares, exchange, Bands(coder, plan, trace, stream) if me == plan.root else None)
    for index in plan.assignment.tiles_of(me):
        compute_tile(coder, x, plan.grid.tiles[index], shares, transfers, trace)
        finish_shares(shares, (), trace, computed=index)
        transfers.advance(trace, computed=index)
    transfers.complete(trace)
    exchange.flush()


class Bands:
    """The band that the root gathers at present, and those still to come.

    Args:
        coder: shapes, and what the class does after its merge.
        plan: the plan.
        trace: what this rank did.
        stream: takes each band.
    """

    def __init__(self, coder: TileCoder, plan: TilePlan, trace: Recorder, stream: Stream) -> None:
        self._coder, self._trace, self._stream = coder, trace, stream
        self._waiting = deque(bands(plan.grid))
        self._canvas: Tensor | None = None
        self._lacking = self._tiles_of_the_next()

    def lacks(self, index: int) -> bool:
        """Whether the share of tile ``index`` is wanted now."""
        return index in self._lacking

    def put(self, tile: Tile, share: Tensor) -> None:
        """Put a finished share into the present band, and hand that over where it was the last."""
        band = self._waiting[0]
        if self._canvas is None:
            self._canvas = self._coder.canvas(band.box)
        self._coder.boxes.cut(self._coder.raw_view(self._canvas), tile.share_box, band.box).copy_(share)
        self._lacking.remove(tile.index)
        if not self._lacking:
            self._hand_over(band, self._canvas)

    def _hand_over(self, band: Band, canvas: Tensor) -> None:
        with self._trace(Kind.FINISH, Label(text=f"band {band.index}"), bytes=canvas.nbytes):
            self._coder.finish(canvas)
            synchronise(self._coder.device)
        # The band is the stream's own from here on, also to drop.
        self._canvas = None
        with self._trace(Kind.STREAM, Label(text=f"band {band.index}"), bytes=canvas.nbytes):
            self._stream(canvas, self._coder.spans(band.box)[0].start)
        self._waiting.popleft()
        self._lacking = self._tiles_of_the_next()

    def _tiles_of_the_next(self) -> set[int]:
        return {tile.index for tile in self._waiting[0].tiles} if self._waiting else set()


class Transfers(EdgeExchange):
    """The edges between ranks, and the finished shares on their way to the root.

    All transfers have one order: the edges into a tile by their source, then the share of that tile, then the next
    tile's. With each peer there is one queue in that order, which both ends work off; the root also posts its receives
    of shares in that order over all peers, a few at a time and for the present band only.

    No order of events can deadlock. Take the first transfer of the order that has not happened. All before it have, so
    it is at the head of its queue at both ends; computing a tile waits for nobody. An edge's source and target are then
    computed at some time, and both ends start it. A share is final, because the edges into its tile have come; the
    bands before its own have been handed over, because all of their shares have come; so it is sent, and received. A
    rank that waits, waits for the first in the order of what it has posted: what the first transfer of all needs of
    this rank lies before that, and has been done.

    Args:
        shares: the shares that this rank holds.
        exchange: the messages.
        collected: the bands, on the root; None elsewhere.
    """

    def __init__(self, shares: Shares, exchange: Exchange, collected: Bands | None) -> None:
        plan = shares.plan
        super().__init__(shares.coder, plan, exchange)
        self._shares, self._bands, self._root = shares, collected, plan.root
        away = [tile for tile in plan.grid.tiles if self.owners[tile.index] != plan.root]
        self._remote = deque(away if self.me == plan.root else ())
        self._own = deque(tile for tile in plan.grid.tiles if self.owners[tile.index] == self.me == plan.root)
        self._coming: deque[tuple[Tile, Message]] = deque()
        self._turns: dict[int, deque[Edge | Tile]] = {}
        peers = {self.owners[tile.index] for tile in away} if self.me == plan.root else {plan.root} - {self.me}
        for peer in sorted(peers | set(self._queues)):
            sent = [tile for tile in away if {self.me, peer} == {self.owners[tile.index], plan.root}]
            turns: list[Edge | Tile] = [*self._queues[peer], *sent]
            self._turns[peer] = deque(sorted(turns, key=_turn))

    def advance(self, trace: Recorder, computed: int) -> None:
        """Do all that can be done without waiting for another rank, tiles up to ``computed`` being done."""
        moving = True
        while moving:
            arrived = list(self.arrived())
            finish_shares(self._shares, arrived, trace)
            moving = any([arrived, self._gather(), self._start_all(computed)])

    def complete(self, trace: Recorder) -> None:
        """Do all that is left, waiting for other ranks."""
        everything = len(self.owners)
        self.advance(trace, everything)
        while self._posted or self._coming:
            edge = min(self._posted, key=lambda entry: _turn(entry[0]), default=None)
            if edge is None or (self._coming and _turn(self._coming[0][0]) < _turn(edge[0])):
                self.link.wait(self._coming[0][1])
            else:
                self.link.wait(edge[1])
            self.advance(trace, everything)

    def _start_all(self, computed: int) -> bool:
        started = False
        for peer, turns in self._turns.items():
            while turns and self._start(turns[0], peer, computed):
                turns.popleft()
                started = True
        return started

    def _start(self, item: Edge | Tile, peer: int, computed: int) -> bool:
        if isinstance(item, Edge):
            return self.start(item, peer, computed)
        label = share_label(item.index)
        if self._bands is None:
            if not self._shares.final(item.index):
                return False
            self.link.send(self._shares.held.pop(item.index), peer, label)
            return True
        if not self._bands.lacks(item.index) or item != self._remote[0] or len(self._coming) >= RECEIVES_IN_FLIGHT:
            return False
        shape = self.coder.raw_shape(item.share_box)
        self._coming.append((self._remote.popleft(), self.link.receive(shape, self.coder.dtype, peer, label)))
        return True

    def _gather(self) -> bool:
        """On the root, put into the band what is there of it; whether there was any."""
        gathered = False
        while self._bands is not None and self._coming and self._coming[0][1].done.is_set():
            tile, message = self._coming.popleft()
            self._bands.put(tile, self.link.take(message))
            gathered = True
        while self._bands is not None and self._own and self._bands.lacks(index := self._own[0].index):
            if not self._shares.final(index):
                break
            tile = self._own.popleft()
            self._bands.put(tile, self._shares.held.pop(index))
            gathered = True
        return gathered


def _turn(item: Edge | Tile) -> tuple[int, ...]:
    """The place of a transfer in the order that all ranks follow."""
    return (item.target, 0, item.source) if isinstance(item, Edge) else (item.index, 1)
