"""The bars of a schedule's figure: computations, predictions, waiting and idle time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from toolkit.geometry.drawing.palette import rank_colour, text_on
from toolkit.geometry.schedule import Schedule
from toolkit.geometry.schedule_table import Action
from toolkit.plot.bars import event_bars, filled
from toolkit.plot.theme import Unit

PATTERNS = ("", "/", "x", "\\", ".", "-", "|", "+")
"""Pattern of each of a rank's chunks, the first plain; an action's own text counts chunks through the whole model."""

FAINT = {"#000000": "rgba(0,0,0,0.35)", "#FFFFFF": "rgba(255,255,255,0.45)"}
"""Colour of a pattern's lines, by the colour of the text that has to stay readable over them."""

WAITS = {"wait for stages": "rgba(127,127,127,0.16)", "wait for results": "rgba(127,127,127,0.34)"}

_TIMES = "<br>%{{y}}<br>from %{{base:.4~g}}, for %{{customdata:.4~g}} ({})<extra></extra>"

TALL, OUTLINE = 0.56, 0.86


def action_bars(
    table: pd.DataFrame, order: Schedule, *, unit: Unit, branches: int | None = None
) -> Iterator[dict[str, Any]]:
    """One trace for each branch in each of a rank's chunks."""
    branches = branches or order.branches
    laps = table["chunk"] // order.stages
    for branch, lap in sorted(set(zip(table["branch"], laps, strict=True))):
        rows = table[(table["branch"] == branch) & (laps == lap)]
        colour, request = rank_colour(branch), branch // branches
        ink = text_on(colour)
        one = table["branch"].max() < branches
        name = f"branch {branch}" if one else f"request {request}, branch {branch}"
        yield event_bars(rows, name, unit=unit, width=TALL) | {
            "legendgroup": str(branch),
            "showlegend": bool(lap == 0),
            "text": [f"{chunk}F{branch}" for chunk in rows["chunk"]],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "textfont": {"color": ink, "size": 11},
            "constraintext": "inside",
            "marker": filled(colour, PATTERNS[lap % len(PATTERNS)], ink=FAINT[ink], outline="#FFFFFF", solidity=0.15),
            "hovertext": [
                _hover(action, step, expert=expert, request="" if one else f", request {request}")
                for action, step, expert in _named(rows)
            ],
            "hovertemplate": f"%{{hovertext}}{_TIMES.format(unit.name)}",
        }


def _named(rows: pd.DataFrame) -> Iterator[tuple[str, int, str]]:
    experts = rows["expert"] if "expert" in rows else [""] * len(rows)
    actions = (str(Action(chunk, branch)) for chunk, branch in zip(rows["chunk"], rows["branch"], strict=True))
    return zip(actions, rows["step"], experts, strict=True)


def _hover(action: str, step: int, *, expert: str, request: str) -> str:
    return f"<b>{action}</b> step {step}{request}" + (f", {expert}" if expert else "")


def idle_bars(table: pd.DataFrame, unit: Unit) -> Iterator[dict[str, Any]]:
    """The gaps between each rank's computations, up to the end of the last rank."""
    ends, rows = float(table["end"].max()), []
    for rank in sorted(set(table["rank"])):
        bars = table[table["rank"] == rank].sort_values("start")
        free = np.concatenate([[0.0], bars["end"].to_numpy()])
        busy = np.concatenate([bars["start"].to_numpy(), [ends]])
        rows += [(rank, start, stop) for start, stop in zip(free, busy, strict=True) if stop - start > 1e-9 * ends]
    if rows:
        yield _grey(
            pd.DataFrame(rows, columns=["rank", "start", "end"]), "idle", colour=WAITS["wait for results"], unit=unit
        )


def wait_bars(waits: pd.DataFrame, unit: Unit) -> Iterator[dict[str, Any]]:
    """One grey trace for each kind of waiting."""
    for name, rows in waits.groupby("what"):
        yield _grey(rows, str(name), colour=WAITS[str(name)], unit=unit)


def _grey(rows: pd.DataFrame, name: str, *, colour: str, unit: Unit) -> dict[str, Any]:
    return event_bars(rows, name, unit=unit, width=TALL) | {
        "marker": {"color": colour, "pattern": {"fgcolor": "#8A8A8A"}, "line": {"width": 0}},
        "hovertemplate": f"{name}{_TIMES.format(unit.name)}",
    }


def predicted_bars(table: pd.DataFrame, unit: Unit, *, ink: str) -> Iterator[dict[str, Any]]:
    """The predicted boxes, taller than the bars drawn over them."""
    if not len(table):
        return
    yield event_bars(table, "predicted", unit=unit, width=OUTLINE) | {
        "marker": {"color": "rgba(0,0,0,0)", "pattern": {"fgcolor": ink}, "line": {"width": 1.2, "color": ink}},
        "hoverinfo": "skip",
    }
