"""Messages of scripts: each group of ranks is a line of its own, in what ranks learn, in memory and in time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.rehearsed import CPU, together

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.rank import Rank
from toolkit.errors import RunError
from toolkit.geometry.topology import Link, Topology
from toolkit.planning.rehearsing.performance import Performance, play
from toolkit.planning.rehearsing.script import Await, Crossing, End, Kept, Post, Script
from toolkit.runs.trace import Label

LABEL = Label(text="test")


def exchange(rank: Rank, purpose: str) -> Exchange:
    me = rank.member
    return rank.exchange(CPU, Member(None, me.rank, me.size, purpose))


def ones(count: int) -> torch.Tensor:
    return torch.ones(count, dtype=torch.int64)


def posts_up_then_down(rank: Rank) -> None:
    for purpose, count in (("up", 1), ("down", 2)):
        exchange(rank, purpose).send(count * ones(count), 1, LABEL)


def takes(order: tuple[str, ...], seen: list[list[int]]) -> Callable[[Rank], None]:
    """Post a receive in each group, then take what has come, in the same order."""

    def act(rank: Rank) -> None:
        lines = [exchange(rank, purpose) for purpose in order]
        sizes = [{"up": 1, "down": 2}[purpose] for purpose in order]
        posted = [line.receive((size,), torch.int64, 0, LABEL) for line, size in zip(lines, sizes, strict=True)]
        seen.extend([int(x) for x in line.take(one)] for line, one in zip(lines, posted, strict=True))

    return act


def played(scripts: list[Script]) -> Performance:
    return play(scripts, lambda step: 0.0, post=0.0, topology=Topology(per_host=2, within=Link(bandwidth=8.0)))


@pytest.mark.parametrize("order", [("up", "down"), ("down", "up")])
def test_messages_of_two_purposes_do_not_mix(order):
    seen: list[list[int]] = []
    scripts = together({0: posts_up_then_down, 1: takes(order, seen)})
    assert seen == [{"up": [1], "down": [2, 2]}[purpose] for purpose in order]
    assert [step.group for step in scripts[1].steps if isinstance(step, Post)] == list(order)


def test_a_script_says_what_is_posted_in_which_group_and_waited_for():
    sender, receiver = together({0: posts_up_then_down, 1: takes(("down", "up"), [])})
    posts = [step for step in sender.steps if isinstance(step, Post)]
    assert posts == [Post((Crossing(True, 1, 8),), "", "up"), Post((Crossing(True, 1, 16),), "", "down")]
    # Numbers count all that a rank has posted; places count those of one group.
    assert [step for step in receiver.steps if isinstance(step, Await)] == [Await(0), Await(1)]


def test_messages_are_matched_by_group_when_scripts_are_played():
    scripts = together({0: posts_up_then_down, 1: takes(("down", "up"), [])})
    times = played(scripts)
    # One link carries them in the order in which both ends are posted: 16 bytes first, then 8.
    assert times.arrivals(scripts[1]) == {End(0, False, 0, "down"): 2.0, End(0, False, 0, "up"): 3.0}
    assert times.arrivals(scripts[0]) == {End(1, True, 0, "up"): 3.0, End(1, True, 0, "down"): 2.0}


def test_in_one_group_the_order_counts():
    def posts(rank: Rank) -> None:
        line = exchange(rank, "up")
        for count in (1, 2):
            line.send(ones(count), 1, LABEL)

    def receives(rank: Rank) -> None:
        line = exchange(rank, "up")
        for count in (2, 1):
            line.receive((count,), torch.int64, 0, LABEL)

    with pytest.raises(RunError, match="one end of a message has 8 bytes, the other 16"):
        played(together({0: posts, 1: receives}))


def test_two_transports_of_one_group_count_on():
    """Two transformers of a pipeline have an exchange each, in the same group."""
    seen: list[list[int]] = []

    def posts(rank: Rank) -> None:
        for count in (1, 2):
            exchange(rank, "up").send(count * ones(count), 1, LABEL)

    def receives(rank: Rank) -> None:
        for count in (1, 2):
            line = exchange(rank, "up")
            seen.append([int(x) for x in line.take(line.receive((count,), torch.int64, 0, LABEL))])

    scripts = together({0: posts, 1: receives})
    assert seen == [[1], [2, 2]]
    assert list(played(scripts).arrivals(scripts[1])) == [End(0, False, 0, "up"), End(0, False, 1, "up")]


def test_what_is_sent_is_kept_until_the_next_post_in_its_group():
    def posts(rank: Rank) -> None:
        up, down = exchange(rank, "up"), exchange(rank, "down")
        up.send(ones(100), 1, LABEL)
        down.send(ones(1), 1, LABEL)
        up.send(ones(2), 1, LABEL)

    def receives(rank: Rank) -> None:
        up, down = exchange(rank, "up"), exchange(rank, "down")
        for line, count in ((up, 100), (down, 1), (up, 2)):
            line.receive((count,), torch.int64, 0, LABEL)

    sender, _ = together({0: posts, 1: receives})
    third = [place for place, step in enumerate(sender.steps) if isinstance(step, Post)][2]
    assert sender.kept == [Kept(0, third, 800)]


def test_what_has_been_flushed_is_kept_no_longer():
    def posts(rank: Rank) -> None:
        up = exchange(rank, "up")
        up.send(ones(100), 1, LABEL)
        up.flush()
        up.send(ones(2), 1, LABEL)

    def receives(rank: Rank) -> None:
        up = exchange(rank, "up")
        for count in (100, 2):
            up.receive((count,), torch.int64, 0, LABEL)

    sender, _ = together({0: posts, 1: receives})
    assert sender.kept == []
    assert Await(0) in sender.steps
