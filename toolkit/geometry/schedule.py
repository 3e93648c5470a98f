"""Schedules: in which order ranks compute the branches of a denoising step, and what that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from toolkit.errors import PlanError
from toolkit.geometry.checks import Number, check_counts, check_quantities
from toolkit.geometry.drawing.stage_views import schedule_view
from toolkit.geometry.schedule_table import Action, Table, write_table
from toolkit.geometry.simulate import Event, Program, period, steps_from_rest


@dataclass(frozen=True, repr=False)
class Schedule:
    """Who computes what in which order during one denoising step.

    The model is cut into ``depth`` chunks. Chunk ``c`` lies on rank ``c % stages``, so that a branch passes all ranks
    ``chunks`` times. A rank takes its chunks one after the other, and all branches within a chunk.

    Attributes:
        stages: how many ranks the model is cut over.
        branches: guidance branches of a request: the calls of the transformer that one step needs.
        chunks: chunks on each rank.
        in_flight: requests in flight, each with a loop of its own.
        overlap: whether a branch may start before the one before it is back.

    Raises:
        PlanError: for a count below 1, or several requests or chunks without overlap.

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
        if not self.overlap and (self.in_flight, self.chunks) != (1, 1):
            raise PlanError(
                f"overlap=False with in_flight={self.in_flight}, chunks={self.chunks}: only overlap makes use of "
                "several; use 1 of each, or overlap=True."
            )

    @classmethod
    def sequential(cls, stages: int, branches: int) -> Schedule:
        """One branch after the other: stages save memory, and no time.

        A step takes ``branches`` times what a branch takes on one rank.
        """
        return cls(stages, branches, overlap=False)

    @classmethod
    def interleaved(cls, stages: int, branches: int) -> Schedule:
        """Branches follow each other through the stages.

        With P equal stages, B branches and c for a branch on one rank, a step takes ``(P + B - 1) c / P``; with unequal
        ones the sum over the stages and B - 1 times the slowest.

        Example:
            >>> print(Schedule.interleaved(stages=3, branches=2))
            rank 0  0F0  0F1  .    .
            rank 1  .    1F0  1F1  .
            rank 2  .    .    2F0  2F1
        """
        return cls(stages, branches)

    @classmethod
    def looped(cls, stages: int, branches: int, chunks: int) -> Schedule:
        """Every rank has several chunks, a lap of the ranks apart: less of a step is spent filling and draining.

        With V chunks a rank and B <= P, a step takes ``(P V + B - 1) c / (P V)``. More branches than ranks fill every
        lap: then it takes ``(B V + P - 1) c / (P V)``.
        """
        return cls(stages, branches, chunks)

    @classmethod
    def requests(cls, stages: int, branches: int, requests: int, chunks: int = 1) -> Schedule:
        """Several requests in flight, each stepping on its own: one computes while another's results are on their way.

        A step of all R requests takes ``max(R B, P + B - 1) c / P``; with V chunks a rank,
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
        """Chunks that a branch passes: the stages that the model must be split in."""
        return self.stages * self.chunks

    @property
    def kind(self) -> str:
        """The constructor that makes this schedule."""
        if not self.overlap:
            return "sequential"
        if self.in_flight > 1:
            return "requests"
        return "looped" if self.chunks > 1 else "interleaved"

    def rank_of(self, chunk: int) -> int:
        """The rank that a chunk lies on."""
        return chunk % self.stages

    def request_of(self, branch: int) -> int:
        """The request of a branch. Branches are counted through the requests: ``branches`` of the first come first."""
        return branch // self.branches

    @property
    def actions(self) -> tuple[Action, ...]:
        """All of a step, each action after those that it waits for: chunk by chunk, or branch by branch."""
        chunks, branches = range(self.depth), range(self.in_flight * self.branches)
        if self.overlap:
            return tuple(Action(chunk, branch) for chunk in chunks for branch in branches)
        return tuple(Action(chunk, branch) for branch in branches for chunk in chunks)

    def order(self, rank: int) -> tuple[Action, ...]:
        """What one rank does in a step, in order.

        Example:
            >>> " ".join(map(str, Schedule.looped(2, branches=2, chunks=2).order(rank=1)))
            '1F0 1F1 3F0 3F1'
        """
        return tuple(action for action in self.actions if self.rank_of(action.chunk) == rank)

    @property
    def table(self) -> Table:
        """One step from rest in slots, every action taking one: a row for each rank."""
        events = self.timeline((1,) * self.depth)
        slots = int(max(event.stop for event in events))
        rows: list[list[Action | None]] = [[None] * slots for _ in range(self.ranks)]
        for event in events:
            rows[event.rank][int(event.start)] = event.action
        return tuple(map(tuple, rows))

    def timeline(self, chunk_costs: Sequence[Number], hop: Number = 0.0, steps: int = 1) -> tuple[Event, ...]:
        """When each action starts and ends, over the first steps of a loop.

        Args:
            chunk_costs: what one branch takes in each chunk.
            hop: time from the end of a chunk to its result's arrival at the next rank.
            steps: how many steps.

        Example:
            >>> first, *_, last = Schedule.interleaved(stages=2, branches=2).timeline([2, 3], hop=1)
            >>> first.start, last.start, last.stop
            (0, 6, 9)
        """
        self._check(chunk_costs, hop)
        check_counts(steps=steps)
        return tuple(e for events, _ in islice(steps_from_rest(self._program, chunk_costs, hop), steps) for e in events)

    def step_time(self, chunk_costs: Sequence[Number], hop: Number = 0.0) -> Number:
        """Time of a step in the long run; with several requests in flight, of a step of each of them.

        Computed by simulation, exactly; with costs that are fractions, the result is one.

        Args:
            chunk_costs: what one branch takes in each chunk.
            hop: time from the end of a chunk to its result's arrival at the next rank, or of the last at the first.

        Example:
            Three ranks, the second of which is slower: the sum of the stages, and once more the slowest.

            >>> Schedule.interleaved(stages=3, branches=2).step_time([10, 14, 10], hop=1)
            51
        """
        self._check(chunk_costs, hop)
        return period(self._program, chunk_costs, hop)

    def loop_time(self, chunk_costs: Sequence[Number], steps: int, hop: Number = 0.0) -> Number:
        """Time of a whole loop from rest until the last result of every request is back at the first rank."""
        self._check(chunk_costs, hop)
        check_counts(steps=steps)
        *_, (_, end) = islice(steps_from_rest(self._program, chunk_costs, hop), steps)
        return max(end.back)

    @property
    def utilisation(self) -> float:
        """The part of all ranks' time spent computing, where all chunks take equally long and links no time."""
        work = self.depth * self.branches * self.in_flight
        return float(work / (self.ranks * self.step_time((1,) * self.depth)))

    @property
    def bubble(self) -> float:
        """The part of all ranks' time spent waiting: 1 less the utilisation."""
        return 1 - self.utilisation

    @property
    def _program(self) -> Program:
        jobs = ((action, self.rank_of(action.chunk), self.request_of(action.branch)) for action in self.actions)
        return Program(self.ranks, self.in_flight, self.depth, tuple(jobs))

    def _check(self, chunk_costs: Sequence[Number], hop: Number) -> None:
        check_quantities("chunk_costs", chunk_costs, self.depth, "chunk")
        check_quantities("hop", [hop], 1, "link")

    def __str__(self) -> str:
        return write_table(self.table)

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
            "step of all requests" if self.in_flight > 1 else "step": f"{float(self.step_time(equal)):.3f}",
            "on one rank": f"{self.branches * self.in_flight:.3f}",
            "times as fast": f"{self.ranks * self.utilisation:.2f} of {self.ranks}",
            "utilisation": f"{100 * self.utilisation:.1f} %",
            "bubble": f"{100 * self.bubble:.1f} %",
        }
        facts = f"{self.kind}, {self._arguments}; chunks of equal cost, no time on links"
        return schedule_view(lines, self.timeline(equal, steps=2), self.ranks, facts)
