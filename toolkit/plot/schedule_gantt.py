"""Who computes which branch when: as a schedule predicts it, and as a run did it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from toolkit.analysis.stage_times import StageTimes, stage_times
from toolkit.errors import ToolkitError
from toolkit.geometry.checks import Number
from toolkit.geometry.counting import counted
from toolkit.geometry.drawing.palette import rank_colour, text_on
from toolkit.geometry.schedule import Schedule
from toolkit.geometry.schedule_table import Action
from toolkit.geometry.stage_loop import waves
from toolkit.geometry.stage_plan import StagePlan
from toolkit.plot.bars import event_bars, filled, rank_axis
from toolkit.plot.figure import ABOVE, Figure, make
from toolkit.plot.theme import THEMES, ThemeName, Unit, time_unit
from toolkit.runs.run import Run

PATTERNS = ("", "/", "x", "\\", ".", "-", "|", "+")
"""Of a rank's chunks, the first of them plain; an action's own text counts all chunks through the model."""

FAINT = {"#000000": "rgba(0,0,0,0.35)", "#FFFFFF": "rgba(255,255,255,0.45)"}
"""Of the lines of a pattern, by the text that they must leave readable."""

WAITS = {"wait for stages": "rgba(127,127,127,0.16)", "wait for results": "rgba(127,127,127,0.34)"}
_TIMES = "<br>%{{y}}<br>from %{{base:.4~g}}, for %{{customdata:.4~g}} ({})<extra></extra>"
SHOWN, MAX_BARS = 3, 1500
TALL, OUTLINE = 0.56, 0.86
COLUMNS = ["rank", "chunk", "branch", "step", "start", "end"]


def schedule(
    what: Schedule | StagePlan | StageTimes | Run,
    costs: Sequence[Number] | None = None,
    hop: Number = 0,
    *,
    steps: int = SHOWN,
    theme: ThemeName = "neutral",
) -> Figure:
    """Draw who computes what when: a row for each rank, a bar for each branch through a chunk.

    Bars have the colour of their branch, and the pattern of their rank's first, second, ... chunk; their text is as in
    the schedule, chunk, F, branch. Of a run, the bars are what was measured, with outlines around them where the
    schedule has them for the chunks' measured costs, from the loop's start on; grey is waiting. The costs hold what a
    stage computes before its layers, the bars do not. Of more than 1500 bars the first steps are drawn, and the title
    says how many.

    Args:
        what: a schedule, a plan, a run in stages, or its :class:`~toolkit.analysis.stage_times.StageTimes`.
        costs: for a schedule, seconds of one branch in each chunk; for a plan, in each layer. By default one branch
            takes 1 through the whole model, and all layers the same.
        hop: seconds from the end of a chunk to its result's arrival at the next rank.
        steps: how many steps of the loop to show at first; of a run, the others are to the right.
        theme: ``"neutral"`` reads on light and dark pages.

    Raises:
        ToolkitError: for a run that has no stages, or costs for a run: it has its own.

    Example:
        >>> schedule(Schedule.looped(stages=2, branches=2, chunks=2), costs=[0.1] * 4).describe()
        'Looped, 2 ranks, as predicted: a step takes 0.5 s, where one rank takes 0.8 s; ranks compute 80 % of it.'
    """
    if isinstance(what, Run | StageTimes):
        if costs is not None or hop:
            raise ToolkitError("costs or hop with a run: it is drawn with its own; give its plan to try others.")
        return _measured(what if isinstance(what, StageTimes) else stage_times(what), steps, theme)
    return _predicted(what, costs, hop, steps, theme)


def _predicted(
    what: Schedule | StagePlan, costs: Sequence[Number] | None, hop: Number, steps: int, theme: ThemeName
) -> Figure:
    order = what.schedule if isinstance(what, StagePlan) else what
    if isinstance(what, StagePlan):
        chunks: Sequence[Number] = what.split.shares if costs is None else what.split.costs(costs)
    else:
        chunks = [1 / order.depth] * order.depth if costs is None else costs
    bars = _timeline(order, chunks, hop, steps)
    step, alone = float(order.step_time(chunks, hop)), order.branches * order.in_flight * float(sum(chunks))
    unit = Unit(1.0, "times a branch through the model") if costs is None else time_unit(step * steps)
    end = float(bars["end"].max())
    takes, on_one = (_said(time, unit, costs is None) for time in (step, alone))
    busy = alone / (order.ranks * step)
    head = f"{order.kind.capitalize()}, {counted(order.ranks, 'rank')}, as predicted: a step takes {takes}"
    return make(
        [*_bars(bars, order, unit), *_idle(bars, unit)],
        _layout(range(order.ranks), unit, end),
        title=f"{head}, on one rank {on_one}",
        description=f"{head}, where one rank takes {on_one}; ranks compute {100 * busy:.0f} % of it.",
        height=_height(order.ranks),
        theme=theme,
        table=_table({"predicted": bars}, "branches" if costs is None else "s"),
    )


def _measured(times: StageTimes, steps: int, theme: ThemeName) -> Figure:
    plan, unit = times.plan, time_unit(times.loop)
    table, waits = (_since(rows, times.begin) for rows in (times.actions, times.waits))
    outline, cut = _outline(times), ""
    if len(table) > MAX_BARS:
        last = max(1, MAX_BARS * int(table["step"].max() + 1) // len(table))
        cut = f"; the first {last} of {table['step'].max() + 1} steps"
        table, outline = (rows[rows["step"] < last] for rows in (table, outline))
        waits = waits[waits["start"] < table["end"].max()]
    end = float(pd.concat([rows.loc[rows["step"] < steps, "end"] for rows in (table, outline)]).max())
    loop, told = (f"{seconds * unit.scale:.3g} {unit.name}" for seconds in (times.loop, times.predicted))
    head = f"{plan.schedule.kind.capitalize()}, {counted(plan.ranks, 'rank')}: a loop of {loop}, predicted {told}"
    head += f", {times.gain}"
    ink = THEMES[theme].text if theme in THEMES else ""
    return make(
        [
            *_outlines(outline, unit, ink),
            *_bars(table, plan.schedule, unit, plan.branches),
            *_waits(waits, unit),
        ],
        _layout(range(plan.ranks), unit, end),
        title=f"{head}{cut}",
        description=f"{head}; ranks computed {100 * times.utilisation:.0f} % of it, on one rank "
        f"{times.one_rank * unit.scale:.3g} {unit.name}.",
        height=_height(plan.ranks),
        theme=theme,
        table=_table({"computed": table, "predicted": outline, "": waits}, "s"),
    )


def _since(rows: pd.DataFrame, begin: float) -> pd.DataFrame:
    return rows.assign(start=rows["start"] - begin, end=rows["end"] - begin)


def _table(parts: Mapping[str, pd.DataFrame], unit: str) -> pd.DataFrame:
    """The bars by what they are; waits say it themselves."""
    named = [rows.assign(what=what) if what else rows for what, rows in parts.items() if len(rows)]
    order = ["what", "rank", "chunk", "branch", "step", "start", "end"]
    table = pd.concat(named, ignore_index=True)[order]
    whole = table.astype(dict.fromkeys(("chunk", "branch", "step"), "Int64"))
    return whole.rename(columns={"start": f"start ({unit})", "end": f"end ({unit})"})


def _timeline(order: Schedule, chunks: Sequence[Number], hop: Number, steps: int) -> pd.DataFrame:
    rows = [
        (event.rank, event.action.chunk, event.action.branch, event.step, float(event.start), float(event.stop))
        for event in order.timeline(chunks, hop, steps)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _outline(times: StageTimes) -> pd.DataFrame:
    """The schedule with the measured costs; only for what it says: one transformer, all requests at once."""
    plan = times.plan
    if len(times.costs) > 1 or len(waves(plan.schedule, times.requests)) > 1 or plan.cfg * plan.sp * plan.tp > 1:
        return pd.DataFrame(columns=COLUMNS)
    ((name, costs),) = times.costs.items()
    return _timeline(replace(plan.schedule, in_flight=times.requests), costs, times.hop, times.steps[name])


def _bars(table: pd.DataFrame, order: Schedule, unit: Unit, branches: int | None = None) -> Iterator[dict[str, Any]]:
    """A trace for each branch in each of a rank's chunks."""
    branches = branches or order.branches
    laps = table["chunk"] // order.stages
    for branch, lap in sorted(set(zip(table["branch"], laps, strict=True))):
        rows = table[(table["branch"] == branch) & (laps == lap)]
        colour, request = rank_colour(branch), branch // branches
        ink = text_on(colour)
        one = table["branch"].max() < branches
        name = f"branch {branch}" if one else f"request {request}, branch {branch}"
        yield event_bars(rows, name, unit, TALL) | {
            "legendgroup": str(branch),
            "showlegend": bool(lap == 0),
            "text": [f"{chunk}F{branch}" for chunk in rows["chunk"]],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "textfont": {"color": ink, "size": 11},
            "constraintext": "inside",
            "marker": filled(colour, PATTERNS[lap % len(PATTERNS)], FAINT[ink], outline="#FFFFFF", solidity=0.15),
            "hovertext": [_hover(*row, "" if one else f", request {request}") for row in _named(rows)],
            "hovertemplate": f"%{{hovertext}}{_TIMES.format(unit.name)}",
        }


def _named(rows: pd.DataFrame) -> Iterator[tuple[str, int, str]]:
    experts = rows["expert"] if "expert" in rows else [""] * len(rows)
    actions = (str(Action(chunk, branch)) for chunk, branch in zip(rows["chunk"], rows["branch"], strict=True))
    return zip(actions, rows["step"], experts, strict=True)


def _hover(action: str, step: int, expert: str, request: str) -> str:
    return f"<b>{action}</b> step {step}{request}" + (f", {expert}" if expert else "")


def _idle(table: pd.DataFrame, unit: Unit) -> Iterator[dict[str, Any]]:
    """What each rank does not compute until the last one has ended."""
    ends, rows = float(table["end"].max()), []
    for rank in sorted(set(table["rank"])):
        bars = table[table["rank"] == rank].sort_values("start")
        free = np.concatenate([[0.0], bars["end"].to_numpy()])
        busy = np.concatenate([bars["start"].to_numpy(), [ends]])
        rows += [(rank, start, stop) for start, stop in zip(free, busy, strict=True) if stop - start > 1e-9 * ends]
    if rows:
        yield _grey(pd.DataFrame(rows, columns=["rank", "start", "end"]), "idle", WAITS["wait for results"], unit)


def _waits(waits: pd.DataFrame, unit: Unit) -> Iterator[dict[str, Any]]:
    for name, rows in waits.groupby("what"):
        yield _grey(rows, str(name), WAITS[str(name)], unit)


def _grey(rows: pd.DataFrame, name: str, colour: str, unit: Unit) -> dict[str, Any]:
    return event_bars(rows, name, unit, TALL) | {
        "marker": {"color": colour, "pattern": {"fgcolor": "#8A8A8A"}, "line": {"width": 0}},
        "hovertemplate": f"{name}{_TIMES.format(unit.name)}",
    }


def _outlines(table: pd.DataFrame, unit: Unit, ink: str) -> Iterator[dict[str, Any]]:
    """The predicted boxes, taller than the bars that lie over them."""
    if not len(table):
        return
    yield event_bars(table, "as predicted", unit, OUTLINE) | {
        "marker": {"color": "rgba(0,0,0,0)", "pattern": {"fgcolor": ink}, "line": {"width": 1.2, "color": ink}},
        "hoverinfo": "skip",
    }


def _layout(ranks: range, unit: Unit, end: float) -> dict[str, Any]:
    return {
        "barmode": "overlay",
        "bargap": 0,
        "xaxis": {"title": {"text": f"time since the loop began ({unit.name})"}, "range": [0, end * unit.scale * 1.01]},
        "yaxis": rank_axis(ranks),
        "showlegend": True,
        # Above the rows, which need the width.
        "legend": ABOVE,
        "margin": {"l": 64, "r": 24, "t": 88, "b": 52},
    }


def _height(ranks: int) -> int:
    return min(max(ranks * 40, 90), 900) + 140


def _said(time: float, unit: Unit, bare: bool) -> str:
    return f"{time * unit.scale:.3g}" + ("" if bare else f" {unit.name}")
