"""A run as a sequence of moments: what happens to each part, which messages are under way, and each rank's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.analysis.flights import flights_of
from toolkit.analysis.part_sheet import pooled
from toolkit.analysis.part_states import SHOWN, Course, Floats, Spans, State
from toolkit.analysis.run_parts import Parts, parts_of
from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry.checks import is_number, shown
from toolkit.geometry.counting import counted
from toolkit.runs.run import Run
from toolkit.runs.trace import Kind

Curve = tuple[Floats, Floats]
"""Times in ascending order, and the bytes from each of them on."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Moment:
    """A run at one moment.

    Attributes:
        time: Seconds since the run began.
        states: The state of each part.
        messages: The messages under way, as :func:`toolkit.analysis.flights.flights_of` returns them.
        memory: Bytes allocated on each rank that was measured, above those at the start of the run.
    """

    time: float
    states: tuple[State, ...]
    messages: pd.DataFrame
    memory: Mapping[int, float]

    def __repr__(self) -> str:
        said = f"time={self.time:g}, states={self.states}, memory={self.memory}"
        return f"Moment({said}, {counted(len(self.messages), 'message')})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Replaying:
    """A run that can be asked what happened at any moment. Made by :func:`replaying`.

    Attributes:
        run: The run, or the rehearsal.
        parts: Its tiles, shards or stages.
        messages: Its messages, one row each.
        ranks: The ranks that did something.
        end: Seconds until the last event has ended.
        course: When each part is computed and sent.
        curves: The memory of each rank that was measured.
    """

    run: Run
    parts: Parts
    messages: pd.DataFrame
    ranks: tuple[int, ...]
    end: float
    course: Course
    curves: Mapping[int, Curve]

    @property
    def trace(self) -> pd.DataFrame:
        """The events."""
        return self.run.trace

    @property
    def word(self) -> str:
        """``"predicted"`` for a rehearsal, ``"measured"`` for a run."""
        return "predicted" if self.run.rehearsed else "measured"

    @property
    def subject(self) -> str:
        """What runs, in words: ``16 tiles on 2 ranks``."""
        count = len(self.parts.names)
        return f"{counted(count, self.parts.noun)} on {counted(len(self.ranks), 'rank')}"

    @property
    def worst(self) -> float:
        """The moment at which memory is the highest on any rank.

        If memory was not measured, the moment at which most parts are computed.
        """
        tops = [(levels.max(), -times[levels.argmax()]) for times, levels in self.curves.values() if len(times)]
        if tops:
            return float(np.clip(-max(tops)[1], 0.0, self.end))
        starts = np.unique(self.trace["start"].to_numpy(np.float64))
        some = starts[:: -(-len(starts) // 1000)]
        return float(max(some, key=lambda time: (self.states(time) == State.COMPUTING).sum()))

    def at(self, time: float) -> Moment:
        """The run at a moment, in seconds since it began.

        Raises:
            PlanError: If the time is not a number of seconds from 0 on.
        """
        if not is_number(time) or not 0 <= time < np.inf:
            raise PlanError(f"time={shown(time)}: must be a number of seconds, 0 or more.")
        states = tuple(State(state) for state in self.states(time).tolist())
        return Moment(float(time), states, self.under_way(time), self.levels(time))

    def states(self, time: float) -> npt.NDArray[np.uint8]:
        """The state of each part as a number."""
        found: npt.NDArray[np.uint8] = self.course.states(np.array([time], np.float64))[0]
        return found

    def map(self, time: float) -> npt.NDArray[np.uint8]:
        """The state of each cell of the map; see :func:`toolkit.analysis.part_sheet.pooled`."""
        found: npt.NDArray[np.uint8] = pooled(self.parts.sheet, self.states(time))
        return found

    def levels(self, time: float) -> dict[int, float]:
        """Bytes on each rank that was measured; 0 before the first point of its curve."""
        found = {}
        for rank, (times, levels) in self.curves.items():
            place = int(np.searchsorted(times, time, "right")) - 1
            found[rank] = float(levels[place]) if place >= 0 else 0.0
        return found

    def under_way(self, time: float, since: float | None = None) -> pd.DataFrame:
        """The messages under way at a moment; with ``since``, those under way at any moment after that."""
        starts, ends = self.messages["start"].to_numpy(), self.messages["end"].to_numpy()
        return self.messages[(starts <= time) & (ends > (time if since is None else min(since, time)))]

    def counts(self, time: float) -> dict[State, int]:
        """How many parts are in each state, in the order of a legend."""
        found = np.bincount(self.states(time), minlength=len(State))
        return {state: int(found[state]) for state in SHOWN}


def replaying(run: Run) -> Replaying:
    """Read a run, or a rehearsal with a profile, for replay.

    Args:
        run: A run in tiles, shards or stages, or the model's own call.

    Raises:
        ToolkitError: If the run has no events, or its events have no times or do not say who receives.

    Example:
        >>> from toolkit.geometry import Assignment, Blend, TileGrid, TilePlan
        >>> from toolkit.runs.record import Record
        >>> from toolkit.runs.run_tables import trace_table
        >>> from toolkit.runs.trace import Event, Label
        >>> grid = TileGrid.cover({"w": 12}, tile=8, overlap=4)
        >>> plan = TilePlan(grid, Blend.linear(), Assignment.round_robin(grid, ranks=2))
        >>> events = [Event(rank, Kind.DECODE, Label(tile=rank), 0.5 * rank, 1.0 + rank) for rank in range(2)]
        >>> memory = pd.DataFrame({"rank": [0, 0], "time": [0.25, 0.75], "bytes": [100, 300]})
        >>> record = Record("", {}, {}, "", {}, 0, {}, {}, {})
        >>> replay = replaying(Run(None, trace_table(events), memory, pd.Series(), record, plan, 2.0))
        >>> replay.subject, replay.worst, moments_of([replay], 5).tolist()
        ('2 tiles on 2 ranks', 0.75, [0.0, 0.75, 1.0, 1.5, 2.0])
        >>> replay.at(0.25)
        Moment(time=0.25, states=(<State.COMPUTING: 5>, <State.WAITING: 2>), memory={0: 100.0}, 0 messages)
    """
    trace = run.trace
    if trace.empty:
        raise ToolkitError(f"{run!r} has no events, so there is nothing to replay: give a run that recorded a trace.")
    end = float(trace["end"].max())
    if not 0 < end < np.inf:
        raise ToolkitError(
            f"the events of {run!r} have no times: rehearse with a profile, tk.rehearse(..., profile=tk.profile(...))."
        )
    flights = flights_of(trace)
    parts, ranks = parts_of(run, flights), trace["rank"].to_numpy(np.int64)
    every = tuple(sorted({*ranks.tolist()}))
    start, stop = (trace[name].to_numpy(np.float64) for name in ("start", "end"))
    # Tiles take turns: one that is computed does not become one that is not begun whenever its rank waits.
    waits = (trace["kind"] == Kind.WAIT.value).to_numpy() & (parts.noun != "tile")
    leaves, comes = (flights[name].to_numpy(np.float64) for name in ("start", "end"))
    count, most = len(parts.names), max(every[-1], int(parts.owners.max())) + 1
    return Replaying(
        run=run,
        parts=parts,
        messages=flights.assign(part=parts.of_message),
        ranks=every,
        end=end,
        course=Course.of(
            Spans.of(parts.of_event, start, stop, owners=count),
            Spans.of(parts.of_message, leaves, comes, owners=count),
            Spans.of(np.where(waits, ranks, -1), start, stop, owners=most),
            owners=parts.owners,
        ),
        curves={int(str(rank)): _curve(table) for rank, table in run.memory.groupby("rank")},
    )


def moments_of(subjects: Sequence[Replaying], count: int) -> Floats:
    """Evenly spaced times until the last subject has ended; the one nearest to the first's worst moment is moved there.

    Args:
        subjects: A run, and the rehearsal beside it.
        count: Number of moments, at least 3.
    """
    times, worst = np.linspace(0.0, max(subject.end for subject in subjects), count), subjects[0].worst
    if times[0] < worst < times[-1]:
        times[1 + np.abs(times[1:-1] - worst).argmin()] = worst
    return times


def _curve(table: pd.DataFrame) -> Curve:
    table = table.sort_values("time", kind="stable")
    return table["time"].to_numpy(np.float64), table["bytes"].to_numpy(np.float64)
