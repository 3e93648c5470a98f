"""Stop: counted inside the block, raised once after it, and nothing of the kind on other threads."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from toolkit.cluster.engines.interrupts import deferred


def stop() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_two_presses_are_counted_and_raise_once_the_block_is_through():
    done = []

    def pressed_twice() -> None:
        with deferred() as seen:
            stop()
            stop()
            assert seen.count == 2
            done.append("clean-up")

    with pytest.raises(KeyboardInterrupt):
        pressed_twice()
    assert done == ["clean-up"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_press_nothing_is_raised():
    with deferred() as seen:
        pass
    assert seen.count == 0


def test_an_error_inside_gives_way_to_the_press():
    def pressed_and_failed() -> None:
        with deferred():
            stop()
            raise ValueError("inside")

    with pytest.raises(KeyboardInterrupt):
        pressed_and_failed()


def test_another_thread_leaves_the_handler_alone():
    handlers = []

    def work() -> None:
        with deferred():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
