"""Turns: who has the workers, and what closing does to a run, in front or in the background."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import suppress

import pytest

import toolkit as tk
from toolkit.cluster import workers
from toolkit.cluster.engines import interrupts
from toolkit.cluster.turns import Turns


class Shown:
    """A progress that shows nothing."""

    totals, done, noun = (1,), {0: 0}, "tiles"

    def update(self, event):
        pass

    def sending(self, left):
        pass

    def doing(self, what):
        pass

    def close(self, outcome):
        pass


def turns_with(ended: list) -> Turns:
    return Turns(lambda: [], lambda: ended.append(time.monotonic()))


def until(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_a_job_has_its_turn_before_it_is_returned():
    """A job that took its turn on its own thread could lose it to the next call, or to close()."""
    for _ in range(50):
        turns, started = turns_with([]), threading.Event()

        def run(listener, events, started=started):
            started.set()
            while not listener.stopped:
                time.sleep(0.001)
            raise tk.RunCancelled("given up")

        job = turns.start(run, Shown(), block=False, timeout=None)
        with pytest.raises(tk.ToolkitError, match="running a job"):
            turns.start(run, Shown(), block=True, timeout=None)
        turns.close()
        assert job.wait(5)
        assert isinstance(job.error, tk.RunCancelled)


def test_closing_at_once_ends_the_job_and_then_the_workers():
    ended = []
    turns = turns_with(ended)
    finished = []

    def run(listener, events):
        while not listener.stopped:
            time.sleep(0.001)
        finished.append(time.monotonic())
        raise tk.RunCancelled("given up")

    job = turns.start(run, Shown(), block=False, timeout=None)
    turns.close()
    assert job.wait(5)
    assert finished[0] <= ended[0]
    assert not turns.closing


def test_closing_from_within_a_run_ends_it_without_a_deadlock():
    """Close() inside a stream= function waited for the run that waited for the function."""
    ended = []
    turns = turns_with(ended)

    def run(listener, events):
        turns.close()
        assert listener.stopped
        raise tk.RunCancelled("given up")

    with pytest.raises(tk.RunCancelled):
        turns.start(run, Shown(), block=True, timeout=None)
    assert len(ended) == 1
    with turns.exclusive():
        assert not turns.closing


def test_a_call_while_another_thread_closes_is_told_so():
    """It was told that the cluster ran a job."""
    closing, go_on = threading.Event(), threading.Event()

    def end_workers() -> None:
        closing.set()
        go_on.wait(5)

    turns = Turns(lambda: [], end_workers)
    thread = threading.Thread(target=turns.close)
    thread.start()
    assert closing.wait(5)
    with pytest.raises(tk.ToolkitError, match="being closed by another thread"), turns.exclusive():
        pass
    go_on.set()
    thread.join(5)
    with turns.exclusive():
        assert not turns.closing


def test_a_turn_is_given_back_after_an_error():
    turns = turns_with([])

    def fail(listener, events):
        raise tk.RunError("no")

    with pytest.raises(tk.RunError) as caught:
        turns.start(fail, Shown(), block=True, timeout=None)
    assert len(caught.value.trace) == 0
    with turns.exclusive(), pytest.raises(tk.ToolkitError, match="running a job"), turns.exclusive():
        pass
    with turns.exclusive():
        pass


def interrupted_at(number: int, files: set[str]):
    """A tracer that sends an interrupt before a line, by its number among the lines of some files that are run."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            count += 1
            if count == number:
                signal.raise_signal(signal.SIGINT)
        return trace

    return trace, lambda: count < number


@pytest.mark.parametrize("block", [True, False])
def test_an_interrupt_at_any_line_leaves_the_turn_free(block):
    """One between taking the turn and entering it made every later call raise "the cluster is running a job"."""
    files = {sys.modules[Turns.__module__].__file__, interrupts.__file__, workers.__file__, threading.__file__}
    number, over, stopped = 0, lambda: False, 0
    while not over():
        number += 1
        turns, ended = turns_with([]), []
        trace, over = interrupted_at(number, files)
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            with suppress(KeyboardInterrupt):
                job = None
                job = turns.start(lambda listener, events: "done", Shown(), block=block, timeout=None)
                ended.append(job)
        finally:
            sys.settrace(before)
        stopped += not ended
        if job is not None and not block:
            assert job.wait(5)
        assert until(lambda turns=turns: not turns._busy.locked())
    assert number > 20
    assert stopped > 5


def test_interrupts_in_a_stream_function_that_closes_the_cluster():
    """It waited for the run that waited for it, and two presses of Stop ended nothing."""
    ended = []
    turns = turns_with(ended)

    def run(listener, events):
        turns.close()
        signal.raise_signal(signal.SIGINT)
        turns.close()
        signal.raise_signal(signal.SIGINT)
        assert listener.stopped
        raise tk.RunCancelled("given up")

    with pytest.raises(KeyboardInterrupt):
        turns.start(run, Shown(), block=True, timeout=None)
    assert len(ended) == 1
    assert not turns.closing
    assert not turns._busy.locked()


def test_a_job_whose_thread_cannot_be_started_gives_its_turn_back(monkeypatch):
    def no_thread(self):
        raise RuntimeError("can't start new thread")

    turns = turns_with([])
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(RuntimeError, match="new thread"):
        turns.start(lambda listener, events: "done", Shown(), block=False, timeout=None)
    assert not turns._busy.locked()
