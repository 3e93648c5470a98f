"""A function that runs in turns with its caller: what it is given, how it ends, and what it leaves behind."""

from __future__ import annotations

import threading

import pytest
import torch

from toolkit.distributed.stages.own_thread import Abandoned, OwnThread

NAME = "toolkit-own"


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(NAME)]


def counting(log: list[str], turns: int = 3) -> OwnThread[str]:
    def count() -> str:
        try:
            for turn in range(turns):
                log.append(f"turn {turn}")
                thread.pause()
            return "counted"
        finally:
            log.append("over")

    thread = OwnThread(count, NAME)
    return thread


def test_it_runs_from_pause_to_pause():
    log: list[str] = []
    thread = counting(log, turns=2)
    assert log == []
    for seen in (["turn 0"], ["turn 0", "turn 1"]):
        thread.resume()
        assert (log, thread.ended) == (seen, False)
    thread.resume()
    assert (thread.ended, thread.value, log[-1]) == (True, "counted", "over")
    thread.abandon()
    assert (thread.value, alive()) == ("counted", [])


def test_two_of_them_take_turns():
    log: list[str] = []
    one, two = counting(log), counting(log)
    for thread in (one, two, two, one):
        thread.resume()
    assert log == ["turn 0", "turn 0", "turn 1", "turn 1"]
    for thread in (one, two):
        thread.abandon()
    assert alive() == []


def test_what_the_function_raises_is_raised_by_resume():
    def fail() -> None:
        thread.pause()
        raise ValueError("in the second turn")

    thread = OwnThread(fail, NAME)
    thread.resume()
    with pytest.raises(ValueError, match="in the second turn"):
        thread.resume()
    assert thread.ended
    thread.abandon()
    assert alive() == []


def test_abandoned_it_ends_where_it_sleeps():
    log: list[str] = []
    thread = counting(log)
    thread.resume()
    thread.abandon()
    assert (log, thread.ended, alive()) == (["turn 0", "over"], True, [])


def test_abandoned_before_its_first_turn_it_does_not_begin():
    log: list[str] = []
    counting(log).abandon()
    assert (log, alive()) == ([], [])


def test_a_function_that_catches_exceptions_cannot_catch_its_end():
    log: list[str] = []

    def greedy() -> None:
        while True:
            try:
                thread.pause()
            except Exception:
                log.append("caught")

    thread = OwnThread(greedy, NAME)
    thread.resume()
    thread.abandon()
    assert (log, alive()) == ([], [])
    assert not issubclass(Abandoned, Exception)


def test_a_function_that_pauses_once_more_on_its_way_out_ends_all_the_same():
    def stubborn() -> None:
        try:
            thread.pause()
        finally:
            thread.pause()

    thread = OwnThread(stubborn, NAME)
    thread.resume()
    thread.abandon()
    assert alive() == []


def test_one_inside_another_may_pause_both():
    """A request in flight waits for a message in a rehearsal: its rank's thread sleeps in it."""
    log: list[str] = []

    def inner() -> str:
        log.append("asks")
        outside.pause()
        log.append("has it")
        return "answer"

    def outer() -> str:
        inside = OwnThread(inner, f"{NAME}-inner")
        inside.resume()
        return inside.value

    outside = OwnThread(outer, NAME)
    outside.resume()
    assert (log, outside.ended) == (["asks"], False)
    outside.resume()
    assert (log, outside.value) == (["asks", "has it"], "answer")


def test_one_inside_another_ends_with_it():
    log: list[str] = []

    def outer() -> None:
        inside = OwnThread(outside.pause, f"{NAME}-inner")
        try:
            inside.resume()
            log.append("went on without an answer")
        finally:
            inside.abandon()

    outside = OwnThread(outer, NAME)
    outside.resume()
    outside.abandon()
    assert (log, alive()) == ([], [])


def test_the_function_has_the_settings_of_the_thread_that_made_it():
    def settings() -> tuple[bool, bool, torch.dtype]:
        return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        thread = OwnThread(settings, NAME)
    thread.resume()
    assert thread.value == (False, True, torch.float16)
    assert settings()[:2] == (True, False)
