"""Streamed tiles: the root hands over the output in bands, as soon as each is complete, and no rank holds all of it.

A band consists of the shares (see shares.py) of all tiles at one place along the grid's first axis. For a grid over h
and w with 2 x 3 tiles:

    tiles  0  1  2      band 0: the shares of tiles 0, 1, 2      handed over first
    tiles  3  4  5      band 1: the shares of tiles 3, 4, 5

Every rank sends a share as soon as nothing will change it any more. The root collects one band at a time, completes it
and hands it over, before it receives a share of the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.message import Message
from toolkit.distributed.comm.rank import Repeated, as_it_is
from toolkit.distributed.tiles.edge_exchange import EdgeExchange
from toolkit.distributed.tiles.shares import Shares, blend_shares, compute_tile, share_label
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
"""Called with a band, and the cell of the output where it starts along the grid's first axis. Bands come in order."""


def check_stream(plan: Plan) -> None:
    """Refuse plans that cannot complete a part of the output before the rest.

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
    coder: TileCoder,
    x: Tensor,
    *,
    plan: TilePlan,
    exchange: Exchange,
    trace: Recorder,
    stream: Stream,
    repeated: Repeated = as_it_is,
) -> None:
    """Compute this rank's tiles; on the root, also hand over the output, band by band.

    Args:
        coder: The model and its grid.
        x: The whole input.
        plan: The tiles and their ranks.
        exchange: Messages to the other ranks.
        trace: Records what this rank does.
        stream: Takes the bands, on the root. It may keep a band or change it. While it runs, the root does nothing
            else.
        repeated: See :class:`toolkit.distributed.comm.rank.Rank`.
    """
    me = exchange.member.rank
    shares = Shares(coder, plan, me=me, view=None, repeated=repeated)
    transfers = Transfers(shares, exchange, Bands(coder, plan, trace=trace, stream=stream) if me == plan.root else None)
    for index in plan.assignment.tiles_of(me):
        compute_tile(coder, x, tile=plan.grid.tiles[index], shares=shares, edges=transfers, trace=trace)
        blend_shares(shares, (), trace=trace, computed=index)
        transfers.advance(trace, computed=index)
    transfers.complete(trace)
    exchange.flush()


class Bands:
    """The band that the root collects at present, and the bands still to come.

    Args:
        coder: The shapes, and what the class does after its merge.
        plan: The tiles and their ranks.
        trace: Records what this rank does.
        stream: Takes each band.
    """

    def __init__(self, coder: TileCoder, plan: TilePlan, *, trace: Recorder, stream: Stream) -> None:
        self._coder, self._trace, self._stream = coder, trace, stream
        self._waiting = deque(bands(plan.grid))
        self._canvas: Tensor | None = None
        self._lacking = self._tiles_of_the_next()

    def lacks(self, index: int) -> bool:
        """Whether the present band still lacks the share of tile ``index``."""
        return index in self._lacking

    def put(self, tile: Tile, share: Tensor) -> None:
        """Put a blended share into the present band; hand the band over if that was the last share of it."""
        band = self._waiting[0]
        # Memory for a band is allocated when its first share arrives, so there is one band at a time.
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
        # From here on the band belongs to the stream: without this line it could not free the band's memory.
        self._canvas = None
        with self._trace(Kind.STREAM, Label(text=f"band {band.index}"), bytes=canvas.nbytes):
            self._stream(canvas, self._coder.spans(band.box)[0].start)
        self._waiting.popleft()
        self._lacking = self._tiles_of_the_next()

    def _tiles_of_the_next(self) -> set[int]:
        return {tile.index for tile in self._waiting[0].tiles} if self._waiting else set()


class Transfers(EdgeExchange):
    """The edges between ranks, and the blended shares on their way to the root.

    All transfers have one order, the same on every rank: the edges into tile 0, the share of tile 0, the edges into
    tile 1, the share of tile 1, and so on. Each rank has one queue of what it sends and receives, in this order, and
    works it off from the front. The root posts its receives of shares a few at a time, and for the present band only.

    Why no order of events can deadlock. Look at the first transfer, in the order of all, that has not happened yet.
    Everything before it has, so it is at the front of its queue on both sides, and no side waits for a later one:

    * An edge starts when its source is computed (sender) and its target is computed (receiver). Computing a tile waits
      for nobody, so both happen.
    * A share is sent when it is final. It is, because its tile is computed and the edges into it have come. The root
      receives it when it belongs to the present band. It does, because all shares before it have come, so the bands
      before its own have been handed over.
    * A rank that waits (``complete``) waits for the first transfer, in the order of all, that it has posted. What the
      first transfer of all needs of this rank comes before that, and so has been started.

    Args:
        shares: The shares that this rank holds.
        exchange: The messages.
        collected: The bands, on the root; None on the other ranks.
    """

    def __init__(self, shares: Shares, exchange: Exchange, collected: Bands | None) -> None:
        plan = shares.plan
        super().__init__(shares.coder, plan, exchange)
        self._shares, self._bands, self._root = shares, collected, plan.root
        away = [tile for tile in plan.grid.tiles if self.owners[tile.index] != plan.root]
        # Only the root uses these two: its own shares, and the shares of other ranks that it has posted.
        self._own = deque(tile for tile in plan.grid.tiles if self.owners[tile.index] == self.me == plan.root)
        self._coming: deque[tuple[Tile, Message]] = deque()
        shared = [tile for tile in away if self.me in (self.owners[tile.index], plan.root)]
        self._queue = deque(sorted([*self._queue, *shared], key=_turn))

    def advance(self, trace: Recorder, computed: int) -> None:
        """Do everything that can be done without waiting for another rank.

        Args:
            trace: Records what this rank does.
            computed: This rank's tiles up to this index are computed.
        """
        # An edge that arrives may complete a share, which may be the next to send or complete a band, which may allow
        # the next receive: go round until nothing moves.
        moving = True
        while moving:
            arrived = list(self.arrived())
            blend_shares(self._shares, arrived, trace=trace)
            moving = any([arrived, self._gather(), self.post(computed)])

    def complete(self, trace: Recorder) -> None:
        """Do everything that is left, waiting for other ranks."""
        everything = len(self.owners)
        self.advance(trace, everything)
        while self._posted or self._coming:
            # Always wait for what comes first in the order of all: see the class.
            edge = min(self._posted, key=lambda entry: _turn(entry[0]), default=None)
            if edge is None or (self._coming and _turn(self._coming[0][0]) < _turn(edge[0])):
                self.link.wait(self._coming[0][1])
            else:
                self.link.wait(edge[1])
            self.advance(trace, everything)

    def start(self, item: Edge | Tile, computed: int) -> bool:
        """Start one transfer, of an edge or of a tile's share, if this rank is ready for it."""
        if isinstance(item, Edge):
            return super().start(item, computed)
        label = share_label(item.index)
        if self._bands is None:
            if not self._shares.final(item.index):
                return False
            self.link.send(self._shares.held.pop(item.index), self._root, label)
            return True
        # The root: only for the present band.
        if not self._bands.lacks(item.index) or len(self._coming) >= RECEIVES_IN_FLIGHT:
            return False
        message = self.link.receive(
            self.coder.raw_shape(item.share_box), self.coder.dtype, self.owners[item.index], label
        )
        self._coming.append((item, message))
        return True

    def _gather(self) -> bool:
        """On the root: put what is there into the present band; return whether there was anything."""
        gathered = False
        while self._bands is not None and self._coming and self.link.arrived(self._coming[0][1]):
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
    """The place of a transfer in the order that all ranks follow: the edges into a tile, then the tile's share."""
    return (item.target, 0, item.source) if isinstance(item, Edge) else (item.index, 1)
