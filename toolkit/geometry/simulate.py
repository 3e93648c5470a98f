"""A schedule in time: when each action starts and ends, given what chunks and links take.

An action starts once its rank has done what stands before it in the rank's order, and its input is there: from the
chunk before it, one hop later; or, for the first chunk, from the scheduler's step, which waits for the results of all
branches of the request. A hop is time on the link, in which both ranks may compute.

So a step maps the times at which ranks and requests are free to the next such times, by sums and maxima only: it is
linear in the max-plus algebra, and its time in the long run is its eigenvalue, the greatest mean over the cycles of
what waits for what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolkit.geometry.checks import Number
from toolkit.geometry.schedule_table import Action


@dataclass(frozen=True, slots=True)
class Program:
    """What of a schedule decides its times.

    Attributes:
        ranks: number of ranks.
        in_flight: number of requests.
        depth: chunks that a branch passes.
        jobs: each action with its rank and its request, such that it comes after those that it waits for.
    """

    ranks: int
    in_flight: int
    depth: int
    jobs: tuple[tuple[Action, int, int], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One action at its time.

    Attributes:
        step: which step of the denoising loop.
        rank: who does it.
        action: what is done.
        start: when it starts.
        stop: when it ends.
    """

    step: int
    rank: int
    action: Action
    start: Number
    stop: Number


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a schedule stands between two steps.

    Attributes:
        free: when each rank has done its part of the step.
        back: when each request's results are back at the first rank.
    """

    free: tuple[Number, ...]
    back: tuple[Number, ...]


def one_step(
    program: Program, costs: Sequence[Number], hop: Number, now: Moment, step: int = 0
) -> tuple[list[Event], Moment]:
    """The events of a step that begins at ``now``, and where it leaves the schedule."""
    free, back, arrived, events = list(now.free), list(now.back), dict[int, Number](), list[Event]()
    # On one rank nothing travels. An int keeps fractions exact.
    travel = hop if hop and program.ranks > 1 else 0
    # With sequential branches the first chunk of a branch comes after the last one of the branch before, and so reads
    # the time at which that is back.
    for action, rank, request in program.jobs:
        start = max(free[rank], arrived[action.branch] if action.chunk else back[request])
        free[rank] = start + costs[action.chunk]
        arrived[action.branch] = free[rank] + travel
        if action.chunk == program.depth - 1:
            back[request] = arrived[action.branch]  # the branches of a request come back in order
        events.append(Event(step, rank, action, start, free[rank]))
    return events, Moment(tuple(free), tuple(back))


def steps_from_rest(program: Program, costs: Sequence[Number], hop: Number) -> Iterator[tuple[list[Event], Moment]]:
    """One step after another, without end; at first all ranks are free and all requests ready, at time 0."""
    now, step = Moment((0,) * program.ranks, (0,) * program.in_flight), 0
    while True:
        events, now = one_step(program, costs, hop, now, step)
        yield events, now
        step += 1


def period(program: Program, costs: Sequence[Number], hop: Number) -> Number:
    """What a step takes in the long run, without error: no longer loop comes closer.

    Karp (1978): with ``x[k]`` the vector of times after ``k`` steps from rest and ``n`` its length, the eigenvalue is
    the greatest over components of the least of ``(x[n] - x[k]) / (n - k)`` over ``k < n``.
    """
    if program.in_flight == 1:
        # Nothing of a step starts before all of the last one is back: every step takes what the first one takes.
        return next(steps_from_rest(program, costs, hop))[1].back[0]
    n = program.ranks + program.in_flight
    times: list[tuple[Number, ...]] = [(0,) * n]
    for _, (_, now) in zip(range(n), steps_from_rest(program, costs, hop), strict=False):
        times.append((*now.free, *now.back))
    return max(min((times[n][i] - times[k][i]) / (n - k) for k in range(n)) for i in range(n))
