"""A schedule in time: when each action starts and ends, given the times of chunks and links.

An action starts when two things are true: its rank has completed the actions before it, and its input is there. The
input comes from the previous chunk, one hop later. The first chunk waits for the scheduler's step instead, which needs
the results of all branches of the request. Both ranks may compute during a hop: it is time on the link.

So a step maps the times at which ranks and requests are free to the next such times, by sums and maxima only. In the
max-plus algebra (where ``max`` takes the place of addition and ``+`` that of multiplication) this is a linear map. Its
eigenvalue is the time of a step in the long run: the largest mean over all cycles of actions that wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import lcm
from numbers import Rational
from operator import truediv
from typing import Any

from toolkit.geometry.checks import Number
from toolkit.geometry.schedule_table import Action


@dataclass(frozen=True, slots=True)
class Program:
    """The parts of a schedule that decide its times.

    Attributes:
        ranks: Number of ranks.
        in_flight: Number of requests.
        depth: Number of chunks that a branch passes through.
        jobs: Each action with its rank and its request. An action comes after the ones that it waits for.
    """

    ranks: int
    in_flight: int
    depth: int
    jobs: tuple[tuple[Action, int, int], ...]


@dataclass(frozen=True, slots=True)
class TimedAction:
    """An action with its start and end.

    Attributes:
        step: Index of the denoising step.
        rank: The rank that computes the action.
        action: The action.
        start: When it starts.
        stop: When it ends.
    """

    step: int
    rank: int
    action: Action
    start: Number
    stop: Number


@dataclass(frozen=True, slots=True)
class FreeTimes:
    """The state of a schedule between two steps.

    Attributes:
        free: When each rank has completed its part of the step.
        back: When the results of each request are back at the first rank.
    """

    free: tuple[Number, ...]
    back: tuple[Number, ...]


def one_step(
    program: Program, costs: Sequence[Number], *, hop: Number, now: FreeTimes, step: int = 0
) -> tuple[list[TimedAction], FreeTimes]:
    """Simulate one step that begins at ``now``: its actions in time, and the state after it."""
    free, back = list(now.free), list(now.back)
    times = _pass(program, costs, hop=hop, free=free, back=back)
    timed = [
        TimedAction(step, rank, action, start, stop)
        for (action, rank, _), (start, stop) in zip(program.jobs, times, strict=True)
    ]
    return timed, FreeTimes(tuple(free), tuple(back))


def _pass(
    program: Program, costs: Sequence[Number], *, hop: Number, free: list[Number], back: list[Number]
) -> Iterator[tuple[Number, Number]]:
    """The start and end of each action of a step. ``free`` and ``back`` are those before it, and at last after it."""
    arrived: dict[int, Number] = {}
    # With one rank nothing travels. The 0 is an int, not a float, so that sums of fractions stay fractions.
    travel = hop if hop and program.ranks > 1 else 0
    last = program.depth - 1
    # The jobs are in an order in which each comes after those that it waits for, so one pass is enough. Sequential
    # branches need no rule of their own: the last chunk of a branch updates back[request] before the first chunk of the
    # next branch reads it. With overlap, the first chunks of all branches come before
    # any last chunk, so they read the value of the previous step.
    for action, rank, request in program.jobs:
        chunk, branch = action.chunk, action.branch
        start = max(free[rank], arrived[branch] if chunk else back[request])
        free[rank] = stop = start + costs[chunk]
        arrived[branch] = stop + travel
        if chunk == last:
            # The branches of a request come back in order, so the last one to be assigned is the latest.
            back[request] = arrived[branch]
        yield start, stop


def steps_from_rest(
    program: Program, costs: Sequence[Number], *, hop: Number
) -> Iterator[tuple[list[TimedAction], FreeTimes]]:
    """Simulate steps without end. At time 0 all ranks are free and all requests are ready."""
    now, step = FreeTimes((0,) * program.ranks, (0,) * program.in_flight), 0
    while True:
        timed, now = one_step(program, costs, hop=hop, now=now, step=step)
        yield timed, now
        step += 1


def states_from_rest(program: Program, costs: Sequence[Number], *, hop: Number) -> Iterator[FreeTimes]:
    """The states after each step without end, as :func:`steps_from_rest` has them, but without its actions."""
    free: list[Number] = [0] * program.ranks
    back: list[Number] = [0] * program.in_flight
    while True:
        deque(_pass(program, costs, hop=hop, free=free, back=back), maxlen=0)
        yield FreeTimes(tuple(free), tuple(back))


def period(program: Program, costs: Sequence[Number], *, hop: Number) -> Number:
    """The time of a step in the long run. It is exact: simulating more steps does not improve it.

    This is Karp's theorem (1978). Let ``x[k]`` be the vector of ``n`` times after ``k`` steps. The eigenvalue is the
    maximum over components of the minimum over ``k < n`` of ``(x[n] - x[k]) / (n - k)``.
    """
    numbers = (*costs, hop or 0)
    if not all(isinstance(number, Rational) for number in numbers):
        return _eigenvalue(program, costs, hop=hop, divide=truediv)
    # Integers add up several times quicker than fractions: count in the largest unit in which all times are whole.
    unit = lcm(*(number.denominator for number in numbers if isinstance(number, Rational)))
    whole = [int(number * unit) for number in numbers]
    if all(isinstance(number, int) for number in numbers):
        return _eigenvalue(program, whole[:-1], hop=whole[-1], divide=truediv)
    return Fraction(_eigenvalue(program, whole[:-1], hop=whole[-1], divide=Fraction)) / unit


def _eigenvalue(
    program: Program, costs: Sequence[Number], *, hop: Number, divide: Callable[[Any, int], Number]
) -> Number:
    steps = states_from_rest(program, costs, hop=hop)
    if program.in_flight == 1:
        # A step starts only when all results of the previous one are back, so every step takes as long as the first.
        return next(steps).back[0]
    # x[k] holds the free time of every rank and of every request. n steps are enough, because a simple cycle in the
    # graph of what waits for what passes each of these n components at most once.
    n = program.ranks + program.in_flight
    x: list[tuple[Number, ...]] = [(0,) * n]
    seen: dict[tuple[Number, ...], int] = {}
    for k, now in enumerate(islice(steps, n), start=1):
        x.append((*now.free, *now.back))
        # If all times are those of an earlier step plus the same amount, so it goes on for ever, and the steps that
        # are left would only confirm it. Rounded times are not compared: they would end at another last digit.
        first = seen.setdefault(tuple(time - x[k][0] for time in x[k]), k) if isinstance(x[k][0], int) else k
        if first < k:
            return divide(x[k][0] - x[first][0], k - first)
    return max(min(divide(x[n][i] - x[k][i], n - k) for k in range(n)) for i in range(n))
