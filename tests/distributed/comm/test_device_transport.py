"""The device transport over works that the test ends: what it keeps, what it waits for, and how its watchdog bites."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from toolkit.distributed.comm.device_transport import DeviceTransport
from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.message import Incoming, Outgoing
from toolkit.errors import RankFailed, RunError, RunTimeout
from toolkit.runs.trace import Label, Recorder

CPU = torch.device("cpu")
SOON = 3.0
"""Seconds within which the watchdog must have seen something."""


class Work:
    """A group of transfers on a device's stream."""

    def __init__(self) -> None:
        self.completed, self.waits = False, 0

    def wait(self) -> None:
        self.waits += 1

    def is_completed(self) -> bool:
        return self.completed


class Member:
    """A rank whose transfers end when the test says so."""

    rank, size, group = 0, 2, None

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.posted: list[list[tuple[int, bool]]] = []
        self.aborted = False

    def post(self, transfers: Any) -> list[Work]:
        self.posted.append([(peer, sends) for _, peer, sends in transfers])
        self.works.append(Work())
        return [self.works[-1]]

    def abort(self) -> None:
        self.aborted = True


FAILED = RankFailed(1, "ValueError: the other rank", "its traceback")


class Flag(FailureFlag):
    """A flag that the test raises."""

    def __init__(self) -> None:
        super().__init__(None, 0)
        object.__setattr__(self, "failed", [])

    def check(self, patience: float = 0.0) -> None:
        for error in self.failed:  # type: ignore[attr-defined]
            raise error


def made(limit: float = 60.0) -> tuple[Member, Any, DeviceTransport, Exchange]:
    member, flag = Member(), Flag()
    transport = DeviceTransport(member, CPU, flag, limit=limit)  # type: ignore[arg-type]
    return member, flag, transport, Exchange(member, flag, trace=Recorder(), device=CPU, transport=transport)  # type: ignore[arg-type]


def swap(exchange: Exchange) -> Any:
    (message,) = exchange.swap(Label(text="halo"), [Outgoing(torch.ones(3), 1)], [Incoming((3,), torch.float32, 1)])
    return message


def until(true: Any) -> None:
    begin = time.monotonic()
    while not true():
        assert time.monotonic() - begin < SOON
        time.sleep(0.01)


def test_a_swap_is_one_group_and_waiting_does_not_stop_the_host():
    member, _, transport, exchange = made()
    message = swap(exchange)
    assert member.posted == [[(1, True), (1, False)]]
    exchange.take(message)  # the transfer has not ended, and this returns all the same
    assert member.works[0].waits == 1
    assert not exchange.arrived(message)
    member.works[0].completed = True
    assert exchange.arrived(message)
    transport.close()


def test_what_is_sent_is_kept_until_its_stream_has_passed():
    member, _, transport, exchange = made()
    swap(exchange)
    swap(exchange)
    assert len(transport.leaving()) == 2
    member.works[0].completed = True
    assert len(transport.leaving()) == 1
    member.works[1].completed = True
    exchange.flush()
    assert not transport.leaving()
    transport.close()


@pytest.mark.parametrize("then", ["swap", "wait", "flush"])
def test_a_failure_elsewhere_aborts_the_communicator_and_is_raised(then):
    member, flag, transport, exchange = made()
    message = swap(exchange)
    flag.failed.append(FAILED)
    until(lambda: member.aborted)
    with pytest.raises(RankFailed, match="the other rank"):
        {"swap": lambda: swap(exchange), "wait": lambda: exchange.wait(message), "flush": exchange.flush}[then]()
    transport.close()


def test_a_store_that_is_lost_aborts_the_communicator_too():
    """The watchdog itself ended with an error of the store, and nobody watched any more."""
    member, flag, transport, exchange = made()
    swap(exchange)
    flag.failed.append(RunError("rank 0 has lost the store"))
    until(lambda: member.aborted)
    with pytest.raises(RunError, match="lost the store"):
        exchange.flush()
    transport.close()


def test_a_failure_ends_a_host_that_waits():
    """Not only one that looks before it waits."""
    member, flag, transport, exchange = made()
    swap(exchange)
    flag.failed.append(FAILED)
    begin = time.monotonic()
    with pytest.raises(RankFailed):
        exchange.flush()
    assert time.monotonic() - begin < SOON
    assert member.aborted
    transport.close()


def test_a_peer_that_stops_is_noticed():
    member, _, transport, exchange = made(limit=0.3)
    swap(exchange)
    until(lambda: member.aborted)
    with pytest.raises(RunTimeout, match="a transfer that has not ended"):
        exchange.flush()
    transport.close()


def test_a_transfer_that_ends_in_time_aborts_nothing():
    member, _, transport, exchange = made(limit=0.5)
    swap(exchange)
    member.works[0].completed = True
    time.sleep(0.9)
    exchange.flush()
    assert not member.aborted
    transport.close()
