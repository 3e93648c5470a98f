"""Explore a schedule: sliders for its counts, and a chart of who computes what when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from toolkit.analysis.stage_times import StageTimes
from toolkit.errors import PlanError
from toolkit.geometry.checks import check_counts
from toolkit.geometry.drawing.html import cell, table, view, word
from toolkit.geometry.drawing.stage_views import gantt
from toolkit.geometry.schedule import Schedule
from toolkit.geometry.stage_plan import StagePlan
from toolkit.geometry.stage_split import StageSplit
from toolkit.widgets.board import Board, Explorer
from toolkit.widgets.markup import code
from toolkit.widgets.settings import Setting, choice, count, quantity

Kind = Literal["sequential", "interleaved", "looped", "requests"]

TAKES: dict[Kind, tuple[str, ...]] = {
    "sequential": (),
    "interleaved": (),
    "looped": ("chunks",),
    "requests": ("chunks", "requests"),
}
"""The optional counts that each kind of schedule has."""

MOST_STAGES, MOST_BRANCHES, MOST_CHUNKS, MOST_REQUESTS, MOST_HOP = 8, 4, 4, 4, 0.25
"""Right ends of the sliders."""


class ScheduleExplorer(Explorer):
    """A schedule that follows sliders. Made by :func:`schedule`.

    Every setting can be read and assigned: ``explorer.stages = 4`` moves the slider.

    Attributes:
        kind: Name of a constructor of :class:`~toolkit.geometry.schedule.Schedule`.
        stages: Number of ranks that the model is split over.
        branches: Number of guidance branches per request.
        chunks: Number of chunks on each rank, for kinds that have them.
        requests: Number of requests in flight, for the kind that has them.
        hop: Time from the end of a chunk to the arrival of its result, where one pass of a branch on one rank takes 1.
        controls: Sliders, by name.
        schedule: The schedule, or the last one that was possible.
        plan: The schedule together with its split of the layers.
        step_time: Simulated time of a step of all requests, where one pass of a branch on one rank takes 1.
    """

    kind = Setting[Kind]()
    stages = Setting[int]()
    branches = Setting[int]()
    chunks = Setting[int]()
    requests = Setting[int]()
    hop = Setting[float]()

    layers: int
    controls: Mapping[str, Any]
    schedule: Schedule
    plan: StagePlan
    step_time: float

    def __init__(
        self, layers: int, seconds: float | None, *, measured: Sequence[StageTimes], start: dict[str, Any]
    ) -> None:
        self.layers = layers
        self._seconds = seconds
        self._measured = measured
        self.controls = _controls(**start)
        super().__init__(Board("Schedule", self.controls, draw=self._draw))

    @property
    def snippet(self) -> str:
        """The code that makes the current plan."""
        split = f"tk.StageSplit.even(layers={self.layers}, stages={self.schedule.depth})"
        return f"schedule = tk.{self.schedule!r}\nplan = tk.StagePlan({split}, schedule)"

    @property
    def utilisation(self) -> float:
        """The fraction of all ranks' time spent computing, taking hops and unequal stages into account."""
        return self._alone / (self.schedule.ranks * self.step_time)

    @property
    def _alone(self) -> int:
        """The time of a step of all requests on one rank."""
        return self.schedule.branches * self.schedule.in_flight

    def _draw(self) -> str:
        kind = self.kind
        for name in ("chunks", "requests"):
            self.controls[name].disabled = name not in TAKES[kind]
        counts = {name: getattr(self, name) for name in ("stages", "branches", *TAKES[kind])}
        order: Schedule = getattr(Schedule, kind)(**counts)
        plan = StagePlan(StageSplit.even(self.layers, order.depth), order)
        shares = [float(share) for share in plan.split.shares]
        self.schedule, self.plan = order, plan
        self.step_time = float(order.step_time(shares, self.hop))
        facts = f"{order!r}; {plan.split!r}; hop {self.hop:g}"
        rows = [[word(name), cell(value)] for name, value in self._lines()]
        picture = gantt(order.timeline(shares, self.hop, steps=2), order.ranks, facts=facts)
        return view("Schedule", facts, table=table([], rows), picture=picture) + code(self.snippet)

    def _lines(self) -> Iterator[tuple[str, str]]:
        order = self.schedule
        formula, value = order.formula
        yield "a step of all requests" if order.in_flight > 1 else "a step", self._said(self.step_time)
        yield f"  equal stages, no hop:\n  {formula}", self._said(float(value))
        yield "on one rank", self._said(self._alone)
        yield "speed-up", f"{self._alone / self.step_time:.2f}x of {order.ranks}x"
        yield "utilisation", f"{100 * self.utilisation:.1f} %"
        yield "bubble", f"{max(0.0, 100 * (1 - self.utilisation)):.1f} %"
        for times in self._measured:
            if times.plan.schedule == order:
                yield f"measured step, {times.plan.split.layers} layers", f"{times.step:.3f} s"
                yield "measured loop", f"{times.loop:.3f} s"
                yield "  predicted from measured chunks and hops", f"{times.predicted:.3f} s"
                yield "  on one rank", f"{times.one_rank:.3f} s"

    def _said(self, time: float) -> str:
        return f"{time:.3f}" + (f" = {time * self._seconds:.3g} s" if self._seconds else "")

    def __repr__(self) -> str:
        if self.error:
            return f"ScheduleExplorer({self.error})"
        return (
            f"ScheduleExplorer({self.schedule!r} over {self.layers} layers: a step takes {self.step_time:.3f}, on one "
            f"rank {self._alone}; ranks compute {100 * self.utilisation:.0f} % of the time)"
        )


def schedule(
    layers: int = 40,
    *,
    kind: Kind = "looped",
    stages: int = 2,
    branches: int = 2,
    chunks: int = 2,
    requests: int = 2,
    hop: float = 0.0,
    seconds: float | None = None,
    measured: Iterable[StageTimes] = (),
) -> ScheduleExplorer:
    """Explore schedules with sliders for the counts; the table and the chart follow.

    The unit of time is one pass of one branch through the whole model on one rank.

    Args:
        layers: Number of the transformer's layers, divided evenly among the chunks.
        kind: Initial kind of schedule.
        stages: Initial number of ranks.
        branches: Initial number of guidance branches per request.
        chunks: Initial number of chunks on each rank.
        requests: Initial number of requests in flight.
        hop: Initial time of a hop.
        seconds: Seconds of one pass of one branch on one rank, if known; times are then shown in seconds too.
        measured: Times of runs; those with the current schedule are shown beside it.

    Raises:
        PlanError: If a value is outside its slider's range.

    Example:
        >>> explorer = schedule(layers=30)
        >>> explorer
        ScheduleExplorer(Schedule.looped(stages=2, branches=2, chunks=2) over 30 layers: a step takes 1.267, on one rank
        2; ranks compute 79 % of the time)
        >>> explorer.stages = 4
        >>> explorer.plan
        StagePlan(30 layers in 8 stages: 4 4 4 4 4 4 3 3; Schedule.looped(stages=4, branches=2, chunks=2); 4 ranks)
    """
    check_counts(layers=layers)
    if seconds is not None and not seconds > 0:
        raise PlanError(f"seconds={seconds}: must be above 0, or None if it is unknown.")
    start = {"kind": kind, "stages": stages, "branches": branches, "chunks": chunks, "requests": requests, "hop": hop}
    return ScheduleExplorer(layers, seconds, measured=tuple(measured), start=start)


def _controls(*, kind: str, stages: int, branches: int, chunks: int, requests: int, hop: float) -> dict[str, Any]:
    return {
        "kind": choice("kind", get_args(Kind), value=kind, hint="The order in which ranks compute the branches."),
        "stages": count("stages", stages, most=MOST_STAGES, hint="Ranks that the model is split over."),
        "branches": count("branches", branches, most=MOST_BRANCHES, hint="Calls of the transformer per step."),
        "chunks": count(
            "chunks", chunks, most=MOST_CHUNKS, hint="Chunks on each rank; for 'looped' and 'requests' only."
        ),
        "requests": count("requests", requests, most=MOST_REQUESTS, hint="Requests in flight; for 'requests' only."),
        "hop": quantity(
            "hop", hop, most=MOST_HOP, step=0.01, hint="Time on a link, where a branch on one rank takes 1."
        ),
    }
