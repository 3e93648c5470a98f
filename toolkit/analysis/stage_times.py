"""Where the time of a run in stages went, and what its schedule predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from toolkit.analysis.stage_events import actions, hops, loop_events
from toolkit.errors import ToolkitError
from toolkit.geometry.checks import check_quantity, shown
from toolkit.geometry.stage_loop import loop_time
from toolkit.geometry.stage_plan import StagePlan, stage_plan_of
from toolkit.runs.run import Run

Costs = Mapping[str, tuple[float, ...]]
"""Seconds that one branch takes in each chunk, by transformer; the name is empty if there is only one."""


@dataclass(frozen=True, repr=False, eq=False)
class StageTimes:
    """Where the time of a run in stages went.

    The loop lasts from the start of the first stage until the last result has reached every rank. Text encoders,
    loading and decoding are outside it.

    Attributes:
        plan: The run's plan.
        requests: Number of requests.
        seconds: Duration of the whole run.
        begin: Start of the loop, in seconds since the run began.
        loop: Duration of the loop, in seconds.
        step: Duration of a step of all requests in flight, in seconds: the median from one step's start to the next.
        actions: One row for each branch passing through a chunk: ``rank``, ``chunk``, ``branch`` (counted over all
            requests), ``request``, ``step``, ``expert``, ``start`` and ``end`` of the layers (s since the run began),
            and ``seconds`` spent computing.
        waits: One row for each time a rank was blocked: ``rank``, ``what`` (a column of ``ranks``), ``start``, ``end``.
        ranks: Seconds of the loop by rank: ``compute``; ``send``; ``wait for stages``, waiting for the previous stage
            while the pipeline fills or a stage is slower than others; ``wait for results``, waiting for the input of
            the next step; and ``pipeline``, the rest: the pipeline's own work (scheduler, guidance) and the handling of
            stages.
        rest: Seconds of the run outside the loop, by activity, on the slowest rank.
        costs: Median seconds that a branch takes in each chunk.
        steps: Number of steps of a request with each transformer; the largest if requests differ.
        hop: Median seconds from the end of a chunk to the arrival of its result at a rank that waited for it.
        one_rank: Duration of the loop on one rank in seconds: measured if given, else everything that was computed, by
            ``costs``.
    """

    plan: StagePlan
    requests: int
    seconds: float
    begin: float
    loop: float
    step: float
    actions: pd.DataFrame
    waits: pd.DataFrame
    ranks: pd.DataFrame
    rest: pd.Series
    costs: Costs
    steps: Mapping[str, int]
    hop: float
    one_rank: float

    @property
    def predicted(self) -> float:
        """Duration of the loop by the schedule, from the measured ``costs`` and ``hop``; schedulers count as free."""
        return float(loop_time(self.plan, self.costs, self.steps, self.requests, self.hop))

    @property
    def bound(self) -> float:
        """Duration of the loop by the schedule if layers were equal, links were free and nothing was computed twice.

        This is ``one_rank`` divided among the branches, steps and layers of all requests.
        """
        equal = dict.fromkeys(self.costs, self.plan.split.shares)
        work = self.plan.branches * self.requests * sum(self.steps.values())
        return float(loop_time(self.plan, equal, self.steps, self.requests)) * self.one_rank / work

    @property
    def realised(self) -> float:
        """The realised share of the possible gain: ``(one_rank - loop) / (one_rank - bound)``.

        1 is the schedule's bound, 0 means no gain, and a negative value means slower than one rank. NaN if the schedule
        promises no gain, as with one rank or sequential branches.
        """
        possible = self.one_rank - self.bound
        return (self.one_rank - self.loop) / possible if possible > 1e-9 * self.one_rank else float("nan")

    @property
    def gain(self) -> str:
        """The realised gain, in words."""
        if self.realised != self.realised:
            return "no gain promised"
        return "slower than one rank" if self.realised < 0 else f"{100 * self.realised:.0f} % of the possible gain"

    @property
    def utilisation(self) -> float:
        """The fraction of all ranks' time in the loop that was spent computing stages."""
        return float(self.ranks["compute"].sum() / (len(self.ranks) * self.loop))

    def summary(self) -> pd.Series:
        """The main figures of the loop as one column: seconds and fractions."""
        return pd.Series(
            {
                "one rank s": self.one_rank,
                "loop s": self.loop,
                "predicted s": self.predicted,
                "bound s": self.bound,
                "gain realised": self.realised,
                "utilisation": self.utilisation,
                "step s": self.step,
                "rest of the run s": self.seconds - self.loop,
            },
            name=self.plan.summary,
        )

    def __repr__(self) -> str:
        return (
            f"StageTimes({self.plan.summary}: loop {self.loop:.3g} s, predicted {self.predicted:.3g} s, one rank "
            f"{self.one_rank:.3g} s: {self.gain}; {100 * self.utilisation:.0f} % busy)"
        )

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>" + self.ranks.to_html(float_format="{:.3f}".format)


def stage_times(run: Run, one_rank: Run | float | None = None) -> StageTimes:
    """Break down where the time of a run in stages went.

    Args:
        run: A run of ``cluster.generate`` with a plan of stages.
        one_rank: Seconds of the same loops on one rank; or a run of one request on one rank, whose loop then counts
            once per request. By default everything that the ranks computed, by the medians of the chunks.

    Raises:
        ToolkitError: If the run has no stages, or its transformers did not follow the schedule of ``run.plan``.
    """
    if not isinstance(run, Run):
        raise ToolkitError(f"run={shown(run)}: give the run that cluster.generate returns.")
    if one_rank is not None and not isinstance(one_rank, Run):
        check_quantity("one_rank", one_rank, positive=True)
    plan = stage_plan_of(run.plan)
    if plan is None:
        raise ToolkitError(f"stage_times is for runs with a StagePlan, not {run!r}: use run.summary() instead.")
    events = loop_events(run.trace)
    begin, end = float(events.loc[events["kind"] == "stage", "start"].min()), float(events["end"].max())
    table = actions(events, plan)
    costs, steps = _costs(table, plan), _steps(table)
    requests = int(table["request"].max()) + 1
    alone = None if one_rank is None else _alone(one_rank, requests)
    computed = requests * plan.branches * sum(steps[name] * sum(chunks) for name, chunks in costs.items())
    waited = hops(events)
    return StageTimes(
        plan=plan,
        requests=requests,
        seconds=run.seconds,
        begin=begin,
        loop=end - begin,
        step=_step(table, end),
        actions=table,
        waits=_waits(events),
        ranks=_ranks(events, plan, loop=end - begin),
        rest=_rest(run, begin, end=end),
        costs=costs,
        steps=steps,
        hop=float(waited.median()) if len(waited) else 0.0,
        one_rank=float(computed if alone is None else alone),
    )


def _alone(one_rank: Run | float, requests: int) -> float:
    if not isinstance(one_rank, Run):
        return one_rank
    times = stage_times(one_rank)
    return times.loop / times.requests * requests


def _costs(table: pd.DataFrame, plan: StagePlan) -> Costs:
    found = {}
    for expert, rows in table.groupby("expert", sort=False):
        median = rows.groupby("chunk")["seconds"].median()
        if len(median) != plan.schedule.depth:
            raise ToolkitError(
                f"{str(expert) or 'the transformer'} ran in {len(median)} chunks, but {plan.schedule!r} has "
                f"{plan.schedule.depth}. A run keeps only one plan: if transformers had different ones, use run.trace."
            )
        found[str(expert)] = tuple(map(float, median.sort_index()))
    return found


def _steps(table: pd.DataFrame) -> Mapping[str, int]:
    counts = table.groupby(["expert", "request"], sort=False)["step"].nunique()
    return {str(expert): int(rows.max()) for expert, rows in counts.groupby("expert", sort=False)}


def _step(table: pd.DataFrame, end: float) -> float:
    """The median over steps and requests; the whole loop if there is only one step."""
    first = table[table["chunk"] == 0].assign(begin=lambda t: t["end"] - t["seconds"])
    starts = first.groupby(["expert", "request", "step"])["begin"].min()
    between = starts.groupby(["expert", "request"]).diff().dropna()
    return float(between.median()) if len(between) else float(end - starts.min())


def _waiting(events: pd.DataFrame) -> pd.Series:
    return (events["chunk"] < 0).map({True: "wait for results", False: "wait for stages"})


def _waits(events: pd.DataFrame) -> pd.DataFrame:
    blocked = events[events["kind"] == "wait"].assign(what=_waiting)
    return blocked[["rank", "what", "start", "end"]].reset_index(drop=True)


def _ranks(events: pd.DataFrame, plan: StagePlan, *, loop: float) -> pd.DataFrame:
    what = events["kind"].map({"stage": "compute", "send": "send"}).fillna(_waiting(events))
    spent = (events["end"] - events["start"]).groupby([events["rank"], what]).sum().unstack()
    columns = ["compute", "send", "wait for stages", "wait for results"]
    table = spent.reindex(index=pd.RangeIndex(plan.ranks, name="rank"), columns=columns).fillna(0.0)
    table.columns.name = None
    return table.assign(pipeline=loop - table.sum(axis=1))


def _rest(run: Run, begin: float, *, end: float) -> pd.Series:
    parts = {"before the loop": begin, "after the loop": run.seconds - end}
    whole = run.trace[run.trace["kind"].isin(("whole", "load"))]
    label = whole["label"].where(whole["kind"] != "load", "loading")
    spent = (whole["end"] - whole["start"]).groupby([label, whole["rank"]], sort=False).sum()
    of = {f"of which {name}": float(rows.max()) for name, rows in spent.groupby(level=0, sort=False)}
    return pd.Series(parts | of, name="s")
