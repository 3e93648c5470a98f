"""Several requests in flight: pipelines that take turns, so that one computes while another's results are under way.

Each request is an unmodified pipeline's call on a thread of its own. Only one thread runs at a time: it goes on
until it needs a result, and then it is the next one's turn. Whose turn it is follows from the calls alone, so it is the
same on every rank.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.agenda import Agenda, Item, compute, number
from toolkit.distributed.stages.call import Call
from toolkit.distributed.stages.engine import Engine
from toolkit.distributed.stages.thread_state import ThreadState
from toolkit.runs.profiler_compat import ThreadAllocations

T = TypeVar("T")


class Abandoned(BaseException):
    """Ends a request's thread after a failure elsewhere."""


class Requests(Agenda, Generic[T]):
    """The agenda of several requests.

    A round gives every request its turn: its results of the last round are taken, its pipeline runs up to its next
    calls, and their first chunks are computed; then come the further chunks, lap by lap.

    Args:
        rank: this process.
    """

    def __init__(self, rank: Rank) -> None:
        super().__init__(rank)
        self._requests: list[_Request[T]] = []
        self._turn: _Request[T] | None = None

    def begin(self, engine: Engine, args: tuple[object, ...], kwargs: dict[str, object]) -> Call:
        """Note a call of the request whose turn it is."""
        request = self._turn
        assert request is not None
        self.check_here(request.left)
        call = self.call_of(engine, args, kwargs, request.count, request.index)
        request.count += 1
        request.items.append(Item(call, engine))
        return call

    def leave(self) -> None:
        """Note that from now on only one rank goes on with the request whose turn it is."""
        assert self._turn is not None
        self._turn.left = True

    def settle(self, call: Call) -> None:
        """Wait until a call is done, while it is the turn of others."""
        if not call.done:
            assert self._turn is not None
            self._turn.pause()

    def run(self, functions: Sequence[Callable[[], T]]) -> list[T]:
        """Run requests to their ends, and return what each returned."""
        with self.rank.failure.watch():
            self._requests = [_Request(index, function) for index, function in enumerate(functions)]
            try:
                active = list(self._requests)
                while active:
                    self._round(active)
                    active = [request for request in active if request.items or not request.ended]
            finally:
                for request in self._requests:
                    request.abandon()
        return [request.value for request in self._requests]

    def _round(self, active: Sequence[_Request[T]]) -> None:
        computing: list[_Request[T]] = []
        for request in active:
            if not request.held:
                request.finish()
                if not request.ended:
                    self._turn = request
                    request.resume()
                    self._turn = None
                    request.steps = number(request.items, request.steps, request.index)
            request.held = not self._has_room(request)
            if not request.held:
                compute(request.items, 0)
                computing.append(request)
        laps = [item.engine.laps for request in computing for item in request.items]
        for lap in range(1, max(laps, default=0)):
            for request in computing:
                compute(request.items, lap)

    def _has_room(self, request: _Request[T]) -> bool:
        """Whether a request may compute: no more than the schedule has in flight use the same ranks."""
        if request.ended or not request.items:
            request.on = None
            return True
        engine = request.items[0].engine
        others = sum(other.on == engine.places.ranks for other in self._requests if other is not request)
        if others >= engine.plan.schedule.in_flight:
            # It leaves the ranks that it was on all the same: what it holds there is of no use any more.
            request.on = None
            return False
        request.on = engine.places.ranks
        return True


class _Request(Generic[T]):
    """A function on a thread that runs in turns.

    Attributes:
        index: its place among the requests.
        items: its calls of this round.
        count: how many calls it has made.
        steps: how many times it has come to a result.
        held: whether it waits for room on its next ranks.
        on: the ranks that compute for it.
        left: whether other ranks have left the function.
        ended: whether the function has returned.
        value: what the function returned.
    """

    value: T

    def __init__(self, index: int, function: Callable[[], T]) -> None:
        self.index, self._function = index, function
        self.items: list[Item] = []
        self.count = self.steps = 0
        self.held = self.ended = self.left = False
        self.on: tuple[int, ...] | None = None
        self._error: BaseException | None = None
        self._abandoned = False
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._state, self._memory = ThreadState.current(), ThreadAllocations()
        self._thread = threading.Thread(target=self._run, name=f"toolkit-request-{index}", daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Let the function run until it needs a result, or ends."""
        self._go.release()
        self._back.acquire()
        if self._error is not None:
            raise self._error

    def pause(self) -> None:
        """Called on the thread: let others run until it is resumed."""
        self._memory.stop()
        self._back.release()
        self._go.acquire()
        self._memory.start()
        if self._abandoned:
            raise Abandoned

    def finish(self) -> None:
        """Take the results of the last round."""
        for call, engine in self.items:
            engine.finish(call)
        self.items = []

    def abandon(self) -> None:
        """End the thread, wherever it is."""
        self._abandoned = True
        self._go.release()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._abandoned:
                with self._state.applied():
                    self._memory.start()
                    try:
                        self.value = self._function()
                    finally:
                        self._memory.stop()
        except Abandoned:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self.ended = True
            self._back.release()
