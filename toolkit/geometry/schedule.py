"""Schedules: the order in which ranks compute the branches of a denoising step, and how long a step takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from toolkit.errors import PlanError
from toolkit.geometry.checks import (
    Number,
    check_counts,
    check_ints,
    check_parts,
    check_quantities,
    check_quantity,
    check_rank,
    shown,
)
from toolkit.geometry.drawing.stage_views import schedule_view
from toolkit.geometry.schedule_formula import step_formula
from toolkit.geometry.schedule_table import Action, Table, write_table
from toolkit.geometry.simulate import Program, TimedAction, period, states_from_rest, steps_from_rest

MOST_ACTIONS = 2**18
"""The most actions of a step or a timeline. Each is a Python object, so this many take about a second; a pipeline of
128 stages with 2 branches and 16 requests in flight has 4096."""
SHOWN_RANKS, SHOWN_SLOTS = 64, 256
"""The most rows and columns of a schedule's table as text. More do not fit a screen, and fill a notebook's file."""


@dataclass(frozen=True, repr=False)
class Schedule:
    """Which rank computes what, and in which order, during one denoising step.

    The model is split into ``depth`` chunks. Chunk ``c`` is on rank ``c % stages``, so a branch passes through all
    ranks ``chunks`` times. A rank computes all branches of one chunk before it goes on to its next chunk.

    Attributes:
        stages: Number of ranks that the model is split over.
        branches: Guidance branches per request: the transformer calls that one step needs.
        chunks: Chunks on each rank.
        in_flight: Requests in flight, each with its own denoising loop.
        overlap: Whether a branch may start before the previous one is back.

    Raises:
        PlanError: If a count is below 1, or there are several requests or chunks without overlap.

    Example:
        >>> schedule = Schedule.looped(stages=2, branches=2, chunks=2)
        >>> print(schedule)
        rank 0  0F0  0F1  2F0  2F1  .
        rank 1  .    1F0  1F1  3F0  3F1
        >>> schedule.utilisation
        0.8
        >>> schedule.step_time([0.25, 0.25, 0.25, 0.25])  # one branch through the model on one rank: 1.0
        1.25
    """

    stages: int
    branches: int
    chunks: int = 1
    in_flight: int = 1
    overlap: bool = True

    def __post_init__(self) -> None:
        check_counts(stages=self.stages, branches=self.branches, chunks=self.chunks, in_flight=self.in_flight)
        if not isinstance(self.overlap, bool):
            raise PlanError(f"overlap={shown(self.overlap)}: must be True or False.")
        check_parts(self.depth, what=f"stages={self.stages} of chunks={self.chunks}")
        entering = self.branches * self.in_flight
        if self.depth * entering > MOST_ACTIONS:
            raise PlanError(
                f"{self!r}: a step has {self.depth} chunks x {entering} branches, a schedule at most {MOST_ACTIONS} "
                "actions. Use fewer stages, chunks, branches or requests."
            )
        if not self.overlap and (self.in_flight, self.chunks) != (1, 1):
            raise PlanError(
                f"overlap=False with in_flight={self.in_flight}, chunks={self.chunks}: several requests or "
                "chunks need overlap. Use 1 of each, or overlap=True."
            )

    @classmethod
    def sequential(cls, stages: int, branches: int) -> Schedule:
        """Run one branch after the other: stages save memory but no time.

        A step takes as long as all its branches on one rank.
        """
        return cls(stages, branches, overlap=False)

    @classmethod
    def interleaved(cls, stages: int, branches: int) -> Schedule:
        """Send the branches through the stages one behind the other.

        With P equal stages, B branches, and a time of c for a branch on one rank, a step takes ``(P + B - 1) c / P``.
        With unequal stages, it takes the sum of all stages plus B - 1 times the slowest.

        Example:
            >>> print(Schedule.interleaved(stages=3, branches=2))
            rank 0  0F0  0F1  .    .
            rank 1  .    1F0  1F1  .
            rank 2  .    .    2F0  2F1
        """
        return cls(stages, branches)

    @classmethod
    def looped(cls, stages: int, branches: int, chunks: int) -> Schedule:
        """Give every rank several chunks, so that each branch goes around the ranks several times.

        Shorter chunks spend less of a step on filling and draining the pipeline. With V chunks per rank and B <= P, a
        step takes ``(P V + B - 1) c / (P V)``. More branches than ranks keep every rank busy, and a step takes
        ``(B V + P - 1) c / (P V)``.
        """
        return cls(stages, branches, chunks)

    @classmethod
    def requests(cls, stages: int, branches: int, requests: int, chunks: int = 1) -> Schedule:
        """Keep several requests in flight, each with its own steps: they fill each other's idle time.

        A step of all R requests takes ``max(R B, P + B - 1) c / P``. With V chunks per rank, it takes
        ``((V - 1) max(R B, P) + max(R B, P + B - 1)) c / (P V)``.

        Example:
            >>> Schedule.requests(stages=4, branches=2, requests=3).utilisation
            1.0
        """
        return cls(stages, branches, chunks, requests)

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return self.stages

    @property
    def depth(self) -> int:
        """Number of chunks that a branch passes through: the number of stages that the model must be split into."""
        return self.stages * self.chunks

    @property
    def kind(self) -> str:
        """Name of the constructor that makes this schedule."""
        if not self.overlap:
            return "sequential"
        if self.in_flight > 1:
            return "requests"
        return "looped" if self.chunks > 1 else "interleaved"

    def rank_of(self, chunk: int) -> int:
        """The rank that holds a chunk."""
        check_ints(0, chunk=chunk)
        return chunk % self.stages

    def request_of(self, branch: int) -> int:
        """The request that a branch belongs to. Branches are numbered through all requests, the first request first."""
        check_ints(0, branch=branch)
        return branch // self.branches

    @property
    def actions(self) -> tuple[Action, ...]:
        """All actions of a step, each after the ones that it waits for: chunk by chunk, or branch by branch."""
        chunks, branches = range(self.depth), range(self.in_flight * self.branches)
        if self.overlap:
            return tuple(Action(chunk, branch) for chunk in chunks for branch in branches)
        return tuple(Action(chunk, branch) for branch in branches for chunk in chunks)

    def order(self, rank: int) -> tuple[Action, ...]:
        """The actions of one rank in a step, in order.

        Example:
            >>> " ".join(map(str, Schedule.looped(2, branches=2, chunks=2).order(rank=1)))
            '1F0 1F1 3F0 3F1'
        """
        check_rank("rank", rank, ranks=self.ranks)
        return tuple(action for action in self.actions if action.chunk % self.stages == rank)

    @property
    def table(self) -> Table:
        """The first step in slots, one row per rank. Every action takes one slot."""
        timed = self.timeline((1,) * self.depth)
        slots = int(max(one.stop for one in timed))
        rows: list[list[Action | None]] = [[None] * slots for _ in range(self.ranks)]
        for one in timed:
            rows[one.rank][int(one.start)] = one.action
        return tuple(map(tuple, rows))

    def timeline(self, chunk_costs: Sequence[Number], hop: Number = 0.0, steps: int = 1) -> tuple[TimedAction, ...]:
        """When each action starts and ends, over the first steps of a loop.

        Args:
            chunk_costs: Time of one branch in each chunk.
            hop: Time from the end of a chunk until its result arrives at the next rank.
            steps: Number of steps.

        Example:
            >>> first, *_, last = Schedule.interleaved(stages=2, branches=2).timeline([2, 3], hop=1)
            >>> first.start, last.start, last.stop
            (0, 6, 9)
        """
        self._check(chunk_costs, hop)
        check_counts(steps=steps)
        if steps * self.depth * self.branches * self.in_flight > 2 * MOST_ACTIONS:
            raise PlanError(
                f"steps={steps} of {self!r}: a timeline has at most {2 * MOST_ACTIONS} actions. Use fewer steps."
            )
        loop = islice(steps_from_rest(self._program, chunk_costs, hop=hop), steps)
        return tuple(one for timed, _ in loop for one in timed)

    def step_time(self, chunk_costs: Sequence[Number], hop: Number = 0.0) -> Number:
        """Time of a step in the long run. With several requests in flight, a step of every request.

        The simulation is exact: if the costs are fractions, so is the result.

        Args:
            chunk_costs: Time of one branch in each chunk.
            hop: Time from the end of a chunk until its result arrives at the next rank (from the last chunk: at rank
                0).

        Example:
            With three ranks and a slower second one, two branches take the sum of the stages plus the slowest once
            more, plus three hops:

            >>> Schedule.interleaved(stages=3, branches=2).step_time([10, 14, 10], hop=1)
            51
        """
        self._check(chunk_costs, hop)
        return period(self._program, chunk_costs, hop=hop)

    def loop_time(self, chunk_costs: Sequence[Number], steps: int, hop: Number = 0.0) -> Number:
        """Time of a whole loop, until the last result of every request is back at the first rank."""
        self._check(chunk_costs, hop)
        check_counts(steps=steps)
        (end,) = islice(states_from_rest(self._program, chunk_costs, hop=hop), steps - 1, steps)
        return max(end.back)

    @property
    def formula(self) -> tuple[str, Fraction]:
        """The formula for a step of all requests, and its value in units of a branch on one rank."""
        return step_formula(
            ranks=self.stages,
            branches=self.branches,
            chunks=self.chunks,
            requests=self.in_flight,
            overlap=self.overlap,
        )

    @property
    def utilisation(self) -> float:
        """Fraction of all ranks' time spent computing, if all chunks take equally long and links take no time."""
        return float(self.branches * self.in_flight / (self.ranks * self.formula[1]))

    @property
    def bubble(self) -> float:
        """Fraction of all ranks' time spent waiting: 1 minus the utilisation."""
        return 1 - self.utilisation

    @property
    def _program(self) -> Program:
        stages, branches = self.stages, self.branches
        jobs = ((action, action.chunk % stages, action.branch // branches) for action in self.actions)
        return Program(self.ranks, self.in_flight, self.depth, tuple(jobs))

    def _check(self, chunk_costs: Sequence[Number], hop: Number) -> None:
        check_quantities("chunk_costs", chunk_costs, count=self.depth, each="chunk")
        check_quantity("hop", hop)

    def __str__(self) -> str:
        table = self.table
        rows, slots = table[:SHOWN_RANKS], len(table[0])
        lines = [write_table(tuple(row[:SHOWN_SLOTS] for row in rows))]
        if self.ranks > SHOWN_RANKS or slots > SHOWN_SLOTS:
            lines.append(f"... of {self.ranks} ranks and {slots} slots; schedule.table has them all")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Schedule.{self.kind}({self._arguments})"

    @property
    def _arguments(self) -> str:
        counts = {"stages": self.stages, "branches": self.branches}
        if self.in_flight > 1:
            counts["requests"] = self.in_flight
        if self.chunks > 1:
            counts["chunks"] = self.chunks
        return ", ".join(f"{name}={count}" for name, count in counts.items())

    def _repr_html_(self) -> str:
        equal = (Fraction(1, self.depth),) * self.depth
        lines = {
            "step of all requests" if self.in_flight > 1 else "step": f"{float(self.formula[1]):.3f}",
            "on one rank": f"{self.branches * self.in_flight:.3f}",
            "speed-up": f"{self.ranks * self.utilisation:.2f} of {self.ranks}",
            "utilisation": f"{100 * self.utilisation:.1f} %",
            "bubble": f"{100 * self.bubble:.1f} %",
        }
        facts = f"{self.kind}, {self._arguments}; chunks of equal cost, no time on links"
        return schedule_view(lines, self.timeline(equal, steps=2), ranks=self.ranks, facts=facts)
