"""Scripts played in time, each against times worked out by hand; all of them are exact in binary."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from toolkit.errors import RunError
from toolkit.geometry.topology import Link, Topology
from toolkit.planning.rehearsing.performance import Performance, RankTimes, play
from toolkit.planning.rehearsing.script import Await, Collective, Compute, Crossing, End, Post, Script, Step

LINK = Link(bandwidth=8.0)


def compute(seconds: float) -> Compute:
    return Compute(str(seconds), 0, 0, 1)


def post(*crossings: Crossing) -> Post:
    return Post(crossings)


def send(peer: int, size: int) -> Crossing:
    return Crossing(True, peer, size)


def receive(peer: int, size: int) -> Crossing:
    return Crossing(False, peer, size)


def played(*steps: Sequence[Step], topology: Topology | None = None, posting: float = 0.0) -> Performance:
    """A performance of ranks that take these steps, each operator as long as its key says."""
    scripts = [Script(rank, steps=list(taken)) for rank, taken in enumerate(steps)]
    among = topology or Topology(per_host=len(scripts), within=LINK)
    return play(scripts, lambda step: float(step.key), post=posting, topology=among)


def times(*steps: Sequence[Step], topology: Topology | None = None, posting: float = 0.0) -> list[RankTimes]:
    return list(played(*steps, topology=topology, posting=posting).times.values())


def ends(*steps: Sequence[Step], topology: Topology | None = None, posting: float = 0.0) -> list[float]:
    return [one.end for one in times(*steps, topology=topology, posting=posting)]


def every(one: RankTimes) -> list[float]:
    """The time after each number of steps."""
    return [one.at(done) for done in range(len(one.own))]


def test_the_time_after_some_steps_is_what_they_took_and_the_waits_before() -> None:
    some = RankTimes(own=[0.0, 1.0, 3.0, 6.0], jumps=[0, 2], waited=[0.0, 10.0])
    assert every(some) == [0.0, 1.0, 13.0, 16.0]
    assert some.at(2.0) == 13.0
    assert some.end == 16.0


def test_a_rank_alone_takes_the_sum_of_its_operators() -> None:
    (alone,) = times([compute(1.0), compute(0.5), compute(0.0)])
    assert every(alone) == [0.0, 1.0, 1.5, 1.5]


def test_a_rank_that_comes_late_to_a_message_does_not_wait() -> None:
    sender, receiver = times(
        [compute(1.0), post(send(1, 8))],
        [post(receive(0, 8)), compute(4.0), Await(0), compute(1.0)],
    )
    assert every(sender) == [0.0, 1.0, 1.0]
    assert every(receiver) == [0.0, 0.0, 4.0, 4.0, 5.0]


def test_a_rank_that_comes_early_jumps_to_the_arrival() -> None:
    _, receiver = times(
        [compute(1.0), post(send(1, 8))],
        [post(receive(0, 8)), compute(0.5), Await(0), compute(1.0)],
    )
    assert every(receiver) == [0.0, 0.0, 0.5, 2.0, 3.0]


def test_a_message_starts_when_both_ends_are_posted_and_a_sender_waits_until_it_has_left() -> None:
    sender, receiver = times(
        [post(send(1, 8)), Await(0)],
        [compute(2.0), post(receive(0, 8)), Await(0)],
    )
    assert every(sender) == [0.0, 0.0, 3.0]
    assert every(receiver) == [0.0, 2.0, 2.0, 3.0]


def test_latency_delays_a_message_but_does_not_keep_the_link() -> None:
    among = Topology(per_host=2, within=Link(bandwidth=8.0, latency=0.5))
    sender, receiver = times(
        [post(send(1, 8), send(1, 16))],
        [post(receive(0, 8), receive(0, 16)), Await(0), Await(1)],
        topology=among,
    )
    assert every(sender) == [0.0, 0.0]
    assert every(receiver) == [0.0, 0.0, 1.5, 3.5]


def test_a_link_carries_one_message_at_a_time_in_each_direction() -> None:
    swaps = ends(
        [post(send(1, 8), receive(1, 24), send(1, 8)), Await(1), Await(0), Await(2)],
        [post(receive(0, 8), send(0, 24), receive(0, 8)), Await(2), Await(0)],
    )
    assert swaps == [3.0, 2.0]


def test_messages_between_two_ranks_match_in_the_order_of_their_posts() -> None:
    _, receiver = times(
        [post(send(1, 8)), compute(4.0), post(send(1, 16))],
        [post(receive(0, 8)), post(receive(0, 16)), Await(1), Await(0)],
    )
    assert every(receiver) == [0.0, 0.0, 0.0, 6.0, 6.0]
    with pytest.raises(RunError, match=r"^ranks \(0, 1\): one end of a message has 8 bytes, the other 16\.$"):
        ends([post(send(1, 8), send(1, 16))], [post(receive(0, 16), receive(0, 8))])


def test_messages_of_other_pairs_do_not_count() -> None:
    """The number of a message counts all that its rank has posted; the order matters for each pair alone."""
    *_, receiver = times(
        [compute(4.0), post(send(2, 8))],
        [compute(1.0), post(send(2, 16))],
        [post(receive(0, 8), receive(1, 16)), Await(1), Await(0)],
    )
    assert every(receiver) == [0.0, 0.0, 3.0, 5.0]


def test_ranks_that_answer_each_other_take_turns() -> None:
    asks, answers = times(
        [post(send(1, 8), receive(1, 16)), Await(1), compute(1.0), post(send(1, 8))],
        [post(receive(0, 8)), Await(0), compute(0.5), post(send(0, 16)), post(receive(0, 8)), Await(2)],
    )
    assert every(asks) == [0.0, 0.0, 3.5, 4.5, 4.5]
    assert every(answers) == [0.0, 0.0, 1.0, 1.5, 1.5, 1.5, 5.5]


def test_two_hosts_share_one_line_in_each_direction() -> None:
    among = Topology(hosts=2, per_host=2, within=LINK, between=Link(bandwidth=4.0))
    across = ends(
        [post(send(2, 8), receive(1, 8)), Await(1)],
        [post(send(3, 8), receive(2, 8), send(0, 8)), Await(1)],
        [post(receive(0, 8), send(1, 8)), Await(0)],
        [post(receive(1, 8)), Await(0)],
        topology=among,
    )
    # 0 to 2 and 1 to 3 go one after the other; 2 to 1 goes the other way, and 1 to 0 stays on its host.
    assert across == [1.0, 2.0, 2.0, 4.0]
    within = ends(
        [post(send(2, 8))],
        [post(send(3, 8))],
        [post(receive(0, 8)), Await(0)],
        [post(receive(1, 8)), Await(0)],
    )
    assert within == [0.0, 0.0, 1.0, 1.0]


def test_each_message_costs_the_rank_that_posts_it() -> None:
    sender, receiver = times(
        [post(send(1, 8), send(1, 8)), compute(1.0)],
        [post(receive(0, 8)), post(receive(0, 8)), compute(4.0), Await(1)],
        posting=0.25,
    )
    assert every(sender) == [0.0, 0.5, 1.5]
    assert every(receiver) == [0.0, 0.25, 0.5, 4.5, 4.5]


def test_what_an_operator_costs_may_depend_on_all_of_its_step() -> None:
    script = Script(0, steps=[Compute("a", 0, 0, 1), Compute("a", 0, 0, 5), Compute("a", 0, 7, 1)])
    alone = play([script], lambda step: step.calls + step.made, post=0.0, topology=Topology())
    assert every(alone.times[0]) == [0.0, 1.0, 6.0, 14.0]


def test_ranks_are_those_of_their_scripts() -> None:
    scripts = [Script(3, steps=[post(receive(1, 8)), Await(0)]), Script(1, steps=[compute(1.0), post(send(3, 8))])]
    two = play(scripts, lambda step: float(step.key), post=0.0, topology=Topology(per_host=4, within=LINK))
    assert {rank: one.end for rank, one in two.times.items()} == {3: 2.0, 1: 1.0}


def test_arrivals_are_told_by_the_number_of_a_message_and_by_its_place_among_its_like() -> None:
    done = played(
        [post(send(1, 8), receive(1, 24)), compute(4.0), post(send(1, 8))],
        [post(receive(0, 8), send(0, 24), receive(0, 8))],
    )
    assert done.messages == {0: [1.0, 3.0, 5.0], 1: [1.0, 3.0, 5.0]}
    first = Script(0, [post(send(1, 8), receive(1, 24)), compute(4.0), post(send(1, 8))])
    assert done.arrivals(first) == {End(1, True, 0): 1.0, End(1, False, 0): 3.0, End(1, True, 1): 5.0}


@pytest.mark.parametrize(
    ("first", "second", "waiting", "open_ends"),
    [
        ([], [post(receive(0, 8)), Await(0)], [1], ["0 to 1"]),
        ([post(send(1, 8))], [], [], ["0 to 1"]),
        ([Await(0)], [], [0], []),
        (
            [post(receive(1, 8)), Await(0), post(send(1, 8))],
            [post(receive(0, 8)), Await(0)],
            [0, 1],
            ["1 to 0", "0 to 1"],
        ),
    ],
    ids=["never sent", "never received", "never posted", "in a circle"],
)
def test_ranks_that_wait_for_ever_are_refused(
    first: list[Step], second: list[Step], waiting: list[int], open_ends: list[str]
) -> None:
    with pytest.raises(RunError) as refusal:
        ends(first, second)
    assert str(refusal.value).startswith(f"ranks {waiting} wait for ever; messages with one end only: {open_ends}: ")


def together(size: int, *line: int, operation: str = "all_reduce") -> Collective:
    return Collective(line or (0, 1), operation, size)


def test_a_collective_begins_when_all_ranks_of_its_line_are_there_and_ends_for_all_at_once() -> None:
    early, late = times([together(8), compute(1.0)], [compute(3.0), together(8)])
    assert every(early) == [0.0, 4.0, 5.0]
    assert every(late) == [0.0, 3.0, 4.0]


@pytest.mark.parametrize(("operation", "seconds"), [("all_reduce", 6.0), ("all_gather", 3.0), ("all_to_all", 3.0)])
def test_a_collective_goes_around_its_ring(operation: str, seconds: float) -> None:
    """Four ranks: three or six rounds of a quarter each, and of the latency."""
    step = together(16, 0, 1, 2, 3, operation=operation)
    among = Topology(per_host=4, within=Link(bandwidth=8.0, latency=0.5))
    assert ends(*[[step]] * 4, topology=among) == [seconds] * 4


def test_the_slowest_link_and_the_largest_part_count() -> None:
    among = Topology(hosts=2, per_host=2, within=LINK, between=Link(bandwidth=2.0))
    assert ends(*[[together(8, 0, 1)]] * 2, [together(8, 2, 3)], [together(4, 2, 3)], topology=among) == [1.0] * 4
    # Each of four parts of 2 bytes takes a second between the hosts, six times; one way there, another one back.
    assert ends(*[[together(8, 0, 1, 2, 3)]] * 4, topology=among) == [6.0] * 4
    # In this order all four messages of a round are between hosts, two in each direction.
    assert ends(*[[together(8, 0, 2, 1, 3)]] * 4, topology=among) == [12.0] * 4


def test_lines_do_not_wait_for_each_other_unless_they_share_ranks_or_links() -> None:
    mixed = ends(
        [together(8, 0, 1), together(8, 0, 2)],
        [compute(2.0), together(8, 0, 1)],
        [together(8, 2, 3), together(8, 0, 2)],
        [together(8, 2, 3)],
    )
    assert mixed == [4.0, 3.0, 4.0, 1.0]
    crossing = Topology(hosts=2, per_host=2, within=LINK, between=LINK)
    assert ends(*[[together(8, 0, 2)], [together(8, 1, 3)]] * 2, topology=crossing) == [1.0, 2.0] * 2


def test_messages_and_collectives_share_links() -> None:
    both = ends([post(send(1, 16)), together(8)], [post(receive(0, 16)), together(8), Await(0)])
    assert both == [3.0, 3.0]
    after = ends([together(8), post(send(1, 8))], [post(receive(0, 8)), together(8), Await(0)])
    assert after == [1.0, 2.0]


def test_a_collective_costs_its_ranks_as_much_as_a_message() -> None:
    assert ends([together(8), compute(1.0)], [together(8)], posting=0.25) == [2.25, 1.25]


def test_ranks_that_do_not_meet_are_refused() -> None:
    with pytest.raises(RunError, match=r"^ranks \[0\] wait for ever; .*lines that do not meet: \[\(0, 1\)\]"):
        ends([together(8)], [])
    with pytest.raises(RunError, match=r"^ranks \[0, 1\] wait for ever; .*\(0, 1\), \(0, 1, 2\)"):
        ends([together(8)], [together(8, 0, 1, 2)], [])
    with pytest.raises(RunError, match=r"different collectives: \['all_reduce', 'all_to_all'\]"):
        ends([together(8)], [together(8, operation="all_to_all")])
