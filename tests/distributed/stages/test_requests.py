"""Several requests: whose turn it is, who has room, and what becomes of the others when one fails."""

from __future__ import annotations

import threading
import time

import pytest
from support.engines import ListedEngine, alone

from toolkit.distributed.stages.requests import Requests
from toolkit.errors import ModelError


class Loop:
    """A pipeline: in each step it calls its transformer once per branch, then looks at the results."""

    def __init__(self, requests: Requests, log: list[str], engine, *, number: int, steps: int = 2, nap: float = 0.0):
        self.requests, self.log, self.engine = requests, log, engine
        self.number, self.steps, self.nap = number, steps, nap

    def __call__(self) -> int:
        total = 0
        for step in range(self.steps):
            time.sleep(self.nap)
            self.log.append(f"R{self.number} step {step}")
            calls = [self.requests.begin(self.engine, (branch,), {}) for branch in range(self.engine.plan.branches)]
            for call in calls:
                self.requests.settle(call)
                total += int(call.result)
        return total


def run_loops(naps=(0.0, 0.0), **engine) -> tuple[list[str], list[int]]:
    log: list[str] = []
    requests: Requests[int] = Requests(alone())
    loops = [
        Loop(requests, log, ListedEngine(log, branches=1, **engine), number=n, nap=nap) for n, nap in enumerate(naps)
    ]
    return log, requests.run(loops)


def test_requests_take_turns_and_results_are_taken_a_round_later():
    log, results = run_loops()
    assert log == [
        "R0 step 0", "0F0 step 0", "R1 step 0", "0F1 step 0",
        "F0 step 0", "R0 step 1", "0F0 step 1", "F1 step 0", "R1 step 1", "0F1 step 1",
        "F0 step 1", "F1 step 1",
    ]  # fmt: skip
    assert results == [2, 2]


def test_the_order_does_not_depend_on_time():
    slow_first, _ = run_loops(naps=(0.05, 0.0))
    slow_second, _ = run_loops(naps=(0.0, 0.05))
    assert slow_first == slow_second == run_loops()[0]


def test_further_laps_come_after_every_request_had_its_turn():
    log, _ = run_loops(laps=2)
    assert log[:6] == ["R0 step 0", "0F0 step 0", "R1 step 0", "0F1 step 0", "1F0 step 0", "1F1 step 0"]


def test_only_one_thread_runs_at_a_time():
    requests: Requests[int] = Requests(alone())
    engine, running, most = ListedEngine([], branches=1), [0], [0]

    def pipeline() -> int:
        for _ in range(3):
            running[0] += 1
            most[0] = max(most[0], running[0])
            time.sleep(0.005)
            running[0] -= 1
            requests.settle(requests.begin(engine, (1,), {}))
        return 0

    requests.run([pipeline] * 4)
    assert most == [1]


def test_no_more_requests_compute_than_the_schedule_has_in_flight():
    log, results = run_loops(naps=(0.0,) * 3, in_flight=2)
    # Requests 0 and 1 compute; request 2 has made its call, and computes only when one of them has ended.
    assert log.index("0F2 step 0") > log.index("F0 step 1")
    assert log.index("R2 step 0") < log.index("F0 step 0")
    assert results == [2, 2, 2]


def test_requests_that_change_places_do_not_wait_for_each_other():
    """Each goes from one transformer's ranks to the other's, which have room for one request only."""
    log: list[str] = []
    requests: Requests[int] = Requests(alone())
    a = ListedEngine(log, branches=1, in_flight=1, ranks=(0,), name="a")
    b = ListedEngine(log, branches=1, in_flight=1, ranks=(1,), name="b")

    def through(*engines):
        def pipeline() -> int:
            for engine in engines:
                requests.settle(requests.begin(engine, (1,), {}))
            return len(engines)

        return pipeline

    assert requests.run([through(a, b, a), through(b, a, b)]) == [3, 3]


def test_a_request_that_never_looks_at_its_last_call_computes_it_all_the_same():
    log: list[str] = []
    requests: Requests[str] = Requests(alone())
    engine = ListedEngine(log, branches=1)

    def careless() -> str:
        requests.begin(engine, (1,), {})
        return "over"

    assert requests.run([careless]) == ["over"]
    assert log == ["0F0 step 0", "F0 step 0"]


def test_an_error_in_one_request_is_raised_and_ends_the_others():
    requests: Requests[None] = Requests(alone())
    engine, ended = ListedEngine([], branches=1), []

    def patient() -> None:
        try:
            while True:
                requests.settle(requests.begin(engine, (1,), {}))
        finally:
            ended.append(threading.current_thread().name)

    def failing() -> None:
        requests.settle(requests.begin(engine, (1,), {}))
        raise ValueError("in the second round")

    with pytest.raises(ValueError, match="in the second round"):
        requests.run([patient, failing, patient])
    assert sorted(ended) == ["toolkit-request-0", "toolkit-request-2"]
    assert not any(thread.name.startswith("toolkit-request") for thread in threading.enumerate())


def test_a_request_that_had_no_turn_before_the_error_does_not_begin():
    requests: Requests[None] = Requests(alone())
    begun: list[int] = []

    def failing() -> None:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        requests.run([failing, lambda: begun.append(1)])
    assert begun == []


def test_a_pipeline_that_catches_exceptions_cannot_catch_its_end():
    requests: Requests[None] = Requests(alone())
    engine, caught = ListedEngine([], branches=1), []

    def greedy() -> None:
        try:
            requests.settle(requests.begin(engine, (1,), {}))
            requests.settle(requests.begin(engine, (1,), {}))
        except Exception as error:
            caught.append(error)

    def failing() -> None:
        requests.settle(requests.begin(engine, (1,), {}))
        raise ValueError("over")

    with pytest.raises(ValueError, match="over"):
        requests.run([greedy, failing])
    assert caught == []


def test_leaving_concerns_one_request_only():
    requests: Requests[str] = Requests(alone())
    engine = ListedEngine([], branches=1)

    def decoding(again: bool):
        def pipeline() -> str:
            requests.settle(requests.begin(engine, (1,), {}))
            requests.leave()
            if again:
                requests.settle(requests.begin(engine, (1,), {}))
            return "decoded"

        return pipeline

    def calling() -> str:
        for _ in range(4):
            requests.settle(requests.begin(engine, (1,), {}))
        return "called"

    assert requests.run([decoding(again=False), calling]) == ["decoded", "called"]
    with pytest.raises(ModelError, match="calls its transformer again"):
        Requests.run(requests, [decoding(again=True), calling])
