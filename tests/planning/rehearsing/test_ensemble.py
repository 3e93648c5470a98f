"""Ranks that need each other's numbers: written together, one at a time, in any order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from support.rehearsed import CPU, together
from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.rank import Rank
from toolkit.errors import ModelError, RunError
from toolkit.geometry.topology import Topology
from toolkit.planning.rehearsing.performance import play
from toolkit.runs.trace import Label

LABEL = Label(text="test")


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("toolkit-rehearsal")]


def sends(make: Callable[[], Tensor], to: int) -> Callable[[Rank], None]:
    return lambda rank: rank.exchange(CPU).send(make(), to, LABEL)


def takes(exchange: Exchange, source: int, count: int = 3) -> Tensor:
    return exchange.take(exchange.receive((count,), torch.int64, source, LABEL))


def told(make: Callable[[], Tensor], ask: Callable[[Tensor], Any]) -> Any:
    """What rank 1 learns of a tensor that rank 0 has made and sent."""
    answers = []
    together({1: lambda rank: answers.append(ask(takes(rank.exchange(CPU), 0))), 0: sends(make, 1)})
    return answers[0]


def test_what_the_sender_knows_the_receiver_knows():
    assert told(lambda: torch.arange(3) * 2, lambda x: x.tolist()) == [0, 2, 4]


def test_what_the_sender_does_not_know_the_receiver_does_not_know():
    with pytest.raises(ModelError, match="depends on data"):
        told(lambda: torch.empty(3, dtype=torch.int64), lambda x: x.tolist())
    assert alive() == []


def test_each_has_its_own_tensor_after_a_message():
    """Both write to theirs, as two ranks that run the same code do."""
    kept: dict[int, list[int]] = {}

    def sender(rank: Rank) -> None:
        exchange, mine = rank.exchange(CPU), torch.arange(3)
        exchange.send(mine, 1, LABEL)
        exchange.flush()
        kept[0] = mine.add_(10).tolist()

    def receiver(rank: Rank) -> None:
        kept[1] = takes(rank.exchange(CPU), 0).add_(10).tolist()

    together({0: sender, 1: receiver})
    assert kept == {0: [10, 11, 12], 1: [10, 11, 12]}


def around(rank: Rank) -> Any:
    """A number goes around three ranks twice; each adds its own."""
    exchange, me = rank.exchange(CPU), rank.member.rank
    total = torch.zeros(3, dtype=torch.int64)
    for _ in range(2):
        if me == 0:
            exchange.send(total, 1, LABEL)
        total = takes(exchange, (me - 1) % 3) + me
        if me != 0:
            exchange.send(total, (me + 1) % 3, LABEL)
    return [int(total[0])]


def test_the_order_in_which_ranks_begin_does_not_matter():
    expected = together(dict.fromkeys(range(3), around))
    assert [script.rank for script in expected] == [0, 1, 2]
    play(expected, lambda step: 1.0, post=0.0, topology=Topology(per_host=3))
    for order in permutations(range(3)):
        scripts = together(dict.fromkeys(order, around))
        assert [script.rank for script in scripts] == [0, 1, 2]
        assert [script.steps for script in scripts] == [script.steps for script in expected]


def test_one_rank_runs_at_a_time():
    running, most = [0], [0]

    def busy(rank: Rank) -> None:
        exchange, other = rank.exchange(CPU), 1 - rank.member.rank
        for _ in range(3):
            running[0] += 1
            most[0] = max(most[0], running[0])
            exchange.send(torch.ones(3, dtype=torch.int64), other, LABEL)
            running[0] -= 1
            takes(exchange, other)

    together({0: busy, 1: busy})
    assert most == [1]


def test_ranks_that_wait_for_ever_are_refused():
    def waits(rank: Rank) -> None:
        takes(rank.exchange(CPU), 1 - rank.member.rank)

    with pytest.raises(RunError, match=r"ranks \[0, 1\] wait for messages that nobody sends"):
        together({1: waits, 0: waits, 2: lambda rank: None})
    assert alive() == []


def test_a_second_message_that_is_not_sent_is_waited_for():
    def twice(rank: Rank) -> None:
        exchange = rank.exchange(CPU)
        for _ in range(2):
            takes(exchange, 0)

    with pytest.raises(RunError, match=r"ranks \[1\] wait"):
        together({0: sends(lambda: torch.arange(3), 1), 1: twice})
    assert alive() == []


def test_what_the_first_rank_to_fail_raised_is_raised_and_the_others_end():
    ended = []

    def patient(rank: Rank) -> None:
        try:
            takes(rank.exchange(CPU), 2)
        finally:
            ended.append(rank.member.rank)

    def failing(rank: Rank) -> None:
        raise KeyError("on rank 2")

    with pytest.raises(KeyError, match="on rank 2"):
        together({0: patient, 1: patient, 2: failing, 3: patient})
    assert ended == [0, 1]  # rank 3 had no turn, and does not begin
    assert alive() == []
