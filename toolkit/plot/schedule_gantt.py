"""Who computes which branch when: as a schedule predicts it, and as a run did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from toolkit.analysis.stage_times import StageTimes, stage_times
from toolkit.errors import ToolkitError
from toolkit.geometry.checks import Number, check_counts
from toolkit.geometry.counting import counted
from toolkit.geometry.schedule import Schedule
from toolkit.geometry.stage_loop import waves
from toolkit.geometry.stage_plan import StagePlan
from toolkit.plot.bars import rank_axis
from toolkit.plot.figure import ABOVE, Figure, make
from toolkit.plot.schedule_bars import action_bars, idle_bars, predicted_bars, wait_bars
from toolkit.plot.theme import THEMES, ThemeName, Unit, time_unit
from toolkit.plot.wanted import kind_of
from toolkit.runs.run import Run

SHOWN, MAX_BARS = 3, 1500
COLUMNS = ["rank", "chunk", "branch", "step", "start", "end"]


def schedule(
    what: Schedule | StagePlan | StageTimes | Run,
    costs: Sequence[Number] | None = None,
    *,
    hop: Number = 0,
    steps: int = SHOWN,
    theme: ThemeName = "neutral",
) -> Figure:
    """Draw who computes what and when: one row per rank, one bar for each branch passing through a chunk.

    The colour of a bar is its branch, the pattern is its rank's first, second, ... chunk, and the text is the action as
    the schedule prints it: chunk, F, branch. For a run, the bars are measured times from the start of the loop,
    outlines show where the schedule puts them given the chunks' measured costs, and grey is waiting. The costs include
    what a stage computes before its layers, the bars do not. If there are more than 1500 bars, only the first steps are
    drawn and the title says how many.

    Args:
        what: A schedule, a plan, a run in stages, or its :class:`~toolkit.analysis.stage_times.StageTimes`.
        costs: For a schedule, the seconds that one branch takes in each chunk; for a plan, in each layer. By default a
            branch takes 1 through the whole model, and all layers cost the same.
        hop: Seconds from the end of a chunk to the arrival of its result at the next rank.
        steps: How many steps of the loop to show at first; in a run, scroll right for the others.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If a run has no stages, or costs are given for a run, which has its own.

    Example:
        >>> schedule(Schedule.looped(stages=2, branches=2, chunks=2), costs=[0.1] * 4).describe()
        'Looped, 2 ranks, predicted: a step takes 0.5 s, on one rank 0.8 s; ranks compute 80 % of the time.'
    """
    check_counts(steps=steps)
    if isinstance(what, Run | StageTimes):
        if costs is not None or hop:
            raise ToolkitError(
                "costs and hop cannot be given for a run, which is drawn with its own: draw run.plan to try others."
            )
        return _measured(what if isinstance(what, StageTimes) else stage_times(what), steps, theme=theme)
    if not isinstance(what, Schedule | StagePlan):
        raise ToolkitError(f"this figure draws a Schedule, a StagePlan or a run in stages, not {kind_of(what)}.")
    return _predicted(what, costs, hop=hop, steps=steps, theme=theme)


def _predicted(
    what: Schedule | StagePlan, costs: Sequence[Number] | None, *, hop: Number, steps: int, theme: ThemeName
) -> Figure:
    if isinstance(what, Schedule):
        order = what
        chunks: Sequence[Number] = [1 / order.depth] * order.depth if costs is None else costs
    else:
        order = what.schedule
        chunks = what.split.shares if costs is None else what.split.costs(costs)
    bars = _timeline(order, chunks, hop=hop, steps=steps)
    step, alone = float(order.step_time(chunks, hop)), order.branches * order.in_flight * float(sum(chunks))
    unit = Unit(1.0, "passes of one branch through the model") if costs is None else time_unit(step * steps)
    end = float(bars["end"].max())
    takes, on_one = (_said(time, unit, bare=costs is None) for time in (step, alone))
    busy = alone / (order.ranks * step)
    head = f"{order.kind.capitalize()}, {counted(order.ranks, 'rank')}, predicted: a step takes {takes}"
    return make(
        [*action_bars(bars, order, unit=unit), *idle_bars(bars, unit)],
        _layout(range(order.ranks), unit, end=end),
        title=f"{head}, on one rank {on_one}",
        description=f"{head}, on one rank {on_one}; ranks compute {100 * busy:.0f} % of the time.",
        height=_height(order.ranks),
        theme=theme,
        table=_table({"predicted": bars}, "branches" if costs is None else "s"),
    )


def _measured(times: StageTimes, steps: int, *, theme: ThemeName) -> Figure:
    plan, unit = times.plan, time_unit(times.loop)
    table, waits = (_since(rows, times.begin) for rows in (times.actions, times.waits))
    outline, cut = _outline(times), ""
    if len(table) > MAX_BARS:
        last = max(1, MAX_BARS * int(table["step"].max() + 1) // len(table))
        cut = f"; the first {last} of {table['step'].max() + 1} steps"
        table, outline = (rows[rows["step"] < last] for rows in (table, outline))
        waits = waits[waits["start"] < table["end"].max()]
    end = float(max(rows.loc[rows["step"] < steps, "end"].max() for rows in (table, outline) if len(rows)))
    loop, predicted = (f"{seconds * unit.scale:.3g} {unit.name}" for seconds in (times.loop, times.predicted))
    head = f"{plan.schedule.kind.capitalize()}, {counted(plan.ranks, 'rank')}: a loop of {loop}, predicted {predicted}"
    head += f", {times.gain}"
    ink = THEMES[theme].text if theme in THEMES else ""
    return make(
        [
            *predicted_bars(outline, unit, ink=ink),
            *action_bars(table, plan.schedule, unit=unit, branches=plan.branches),
            *wait_bars(waits, unit),
        ],
        _layout(range(plan.ranks), unit, end=end),
        title=f"{head}{cut}",
        description=f"{head}; ranks computed {100 * times.utilisation:.0f} % of the time; one rank would take "
        f"{times.one_rank * unit.scale:.3g} {unit.name}.",
        height=_height(plan.ranks),
        theme=theme,
        table=_table({"computed": table, "predicted": outline, "": waits}, "s"),
    )


def _since(rows: pd.DataFrame, begin: float) -> pd.DataFrame:
    return rows.assign(start=rows["start"] - begin, end=rows["end"] - begin)


def _table(parts: Mapping[str, pd.DataFrame], unit: str) -> pd.DataFrame:
    """One table of all bars; the column ``what`` says what they are (waits already say it themselves)."""
    named = [rows.assign(what=what) if what else rows for what, rows in parts.items() if len(rows)]
    order = ["what", "rank", "chunk", "branch", "step", "start", "end"]
    table = pd.concat(named, ignore_index=True)[order]
    whole = table.astype(dict.fromkeys(("chunk", "branch", "step"), "Int64"))
    return whole.rename(columns={"start": f"start ({unit})", "end": f"end ({unit})"})


def _timeline(order: Schedule, chunks: Sequence[Number], *, hop: Number, steps: int) -> pd.DataFrame:
    rows = [
        (event.rank, event.action.chunk, event.action.branch, event.step, float(event.start), float(event.stop))
        for event in order.timeline(chunks, hop, steps)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _outline(times: StageTimes) -> pd.DataFrame:
    """The schedule with the measured costs; empty if it cannot be predicted, as with several transformers or waves."""
    plan = times.plan
    if len(times.costs) > 1 or len(waves(plan.schedule, times.requests)) > 1 or plan.cfg * plan.sp * plan.tp > 1:
        return pd.DataFrame(columns=COLUMNS)
    ((name, costs),) = times.costs.items()
    return _timeline(replace(plan.schedule, in_flight=times.requests), costs, hop=times.hop, steps=times.steps[name])


def _layout(ranks: range, unit: Unit, *, end: float) -> dict[str, Any]:
    return {
        "barmode": "overlay",
        "bargap": 0,
        "xaxis": {"title": {"text": f"time since the loop began ({unit.name})"}, "range": [0, end * unit.scale * 1.01]},
        "yaxis": rank_axis(ranks),
        "showlegend": True,
        # The legend goes above the rows, which need the width.
        "legend": ABOVE,
        "margin": {"l": 64, "r": 24, "t": 88, "b": 52},
    }


def _height(ranks: int) -> int:
    return min(max(ranks * 40, 90), 900) + 140


def _said(time: float, unit: Unit, *, bare: bool) -> str:
    return f"{time * unit.scale:.3g}" + ("" if bare else f" {unit.name}")
