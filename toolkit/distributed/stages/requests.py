"""Several requests in flight: pipelines take turns, so one computes while another's results are under way.

Each request is an unmodified pipeline's call, so it needs a thread of its own: only a thread can be stopped in the
middle of somebody else's code and go on later. But only one thread runs at a time. It runs until it needs a result,
hands the turn back, and sleeps. Two requests, two stages on two ranks (``R1`` is request 1):

    rank 0   R0 up to its call, chunk 0   R1 up to its call, chunk 0   R0 takes its result, goes on ...
    rank 1                                R0: chunk 1                  R1: chunk 1

Why the order is the same on every rank: no clock and no message decides it. A round goes through the requests by index,
and a request's turn ends where its own code first needs a result, which is the same place on every rank, because every
rank runs the same code on the same numbers. So each rank computes the same chunks and takes the same results in the
same order, and messages between two ranks match.

Why this cannot deadlock: a request waits for a result only at the beginning of its turn, for a call of the round
before. This rank has computed and sent its own part of that whole round by then, so a rank that is still in that round
needs nothing more from this one to get to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.agenda import Agenda, Item, compute, number
from toolkit.distributed.stages.deferred_call import DeferredCall
from toolkit.distributed.stages.engine import Engine
from toolkit.distributed.stages.own_thread import OwnThread

T = TypeVar("T")


class Requests(Agenda, Generic[T]):
    """The agenda of several requests.

    In each round every request gets one turn: it takes the results of its last round, its pipeline runs up to the next
    calls, and this rank computes their first chunks. After that come the further chunks of all requests, lap by lap.

    Args:
        rank: This process.
    """

    def __init__(self, rank: Rank) -> None:
        super().__init__(rank)
        self._requests: list[_Request[T]] = []
        self._turn: _Request[T] | None = None

    def begin(self, engine: Engine, args: tuple[object, ...], kwargs: dict[str, object]) -> DeferredCall:
        """Record a call of the request whose turn it is; it runs later.

        Raises:
            ModelError: If the other ranks have left this request's pipeline already.
        """
        request = self._turn
        assert request is not None
        self.check_here(request.left)
        call = self.call_of(engine, args, kwargs, index=request.count, request=request.index)
        request.count += 1
        request.items.append(Item(call, engine))
        return call

    def leave(self) -> None:
        """Record that only one rank goes on with the request whose turn it is: the others leave its pipeline."""
        assert self._turn is not None
        self._turn.left = True

    def settle(self, call: DeferredCall) -> None:
        """Wait until a call is done, while others have their turns. Called on the request's thread."""
        if not call.done:
            assert self._turn is not None
            self._turn.pause()

    def run(self, functions: Sequence[Callable[[], T]]) -> list[T]:
        """Run requests to their ends.

        Args:
            functions: What each request calls.

        Returns:
            What each function returned.

        Raises:
            BaseException: What the first function to fail raised; the other requests are abandoned.
        """
        with self.rank.failure.watch():
            self._requests = [_Request(index, function) for index, function in enumerate(functions)]
            try:
                active = list(self._requests)
                while active:
                    self._round(active)
                    # A request that has returned may still have calls that nobody looked at: other ranks expect this
                    # rank to compute its part of them, so it stays for another round.
                    active = [request for request in active if request.items or not request.ended]
            finally:
                for request in self._requests:
                    request.abandon()
        return [request.value for request in self._requests]

    def _round(self, active: Sequence[_Request[T]]) -> None:
        computing: list[_Request[T]] = []
        for request in active:
            # A held request keeps the calls that it made in an earlier round; it only asks again for room.
            if not request.held:
                request.take_results()
                if not request.ended:
                    self._turn = request
                    request.resume()
                    self._turn = None
                    request.steps = number(request.items, request.steps, request=request.index)
            request.held = not self._has_room(request)
            if not request.held:
                compute(request.items, 0)
                computing.append(request)
        # Lap by lap over all requests, as Agenda does over the calls of one: see there why this cannot deadlock.
        laps = [item.engine.laps for request in computing for item in request.items]
        for lap in range(1, max(laps, default=0)):
            for request in computing:
                compute(request.items, lap)

    def _has_room(self, request: _Request[T]) -> bool:
        """Whether a request may compute now: its ranks serve at most as many requests as the schedule allows.

        With ``experts=2`` a request moves from the ranks of one transformer to those of the other in the middle of its
        loop, so its new ranks may be full.
        """
        if request.ended or not request.items:
            request.on = None
            return True
        engine = request.items[0].engine
        others = sum(other.on == engine.places.ranks for other in self._requests if other is not request)
        if others >= engine.plan.schedule.in_flight:
            # It gives up the ranks that it was on, because it has no more work for them. If it kept them, two requests
            # that want to change places would wait for each other.
            request.on = None
            return False
        request.on = engine.places.ranks
        return True


class _Request(OwnThread[T]):
    """A pipeline's call that runs in turns with the others.

    Attributes:
        index: Its place among the requests.
        items: Its calls of this round.
        count: Number of calls that it has made.
        steps: Number of times that it has asked for a result.
        held: Whether it waits for room on its next ranks.
        on: The ranks that compute for it; None if it has no calls.
        left: Whether the other ranks have left its pipeline.
    """

    def __init__(self, index: int, function: Callable[[], T]) -> None:
        self.index = index
        self.items: list[Item] = []
        self.count = self.steps = 0
        self.held = self.left = False
        self.on: tuple[int, ...] | None = None
        super().__init__(function, f"toolkit-request-{index}")

    def take_results(self) -> None:
        """Take the results of the last round."""
        for call, engine in self.items:
            engine.take_result(call)
        self.items = []
