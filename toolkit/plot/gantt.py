"""The timeline: what each rank did, and when."""

from __future__ import annotations

from typing import Any

import pandas as pd

from toolkit.plot.bars import event_bars, filled, rank_axis
from toolkit.plot.figure import Figure, make, nothing
from toolkit.plot.theme import (
    BLUE,
    BROWN,
    GREEN,
    ORANGE,
    PINK,
    SKY,
    VERMILION,
    YELLOW,
    ThemeName,
    Unit,
    byte_unit,
    time_unit,
)
from toolkit.plot.wanted import check_run
from toolkit.runs.run import Run

STYLES = {
    "whole": (SKY, ""),
    "decode": (BLUE, ""),
    "encode": (BLUE, ""),
    "shard": (BLUE, ""),
    "stage": (BLUE, ""),
    "norms": (YELLOW, "."),
    "blend": (GREEN, "x"),
    "finish": (PINK, "."),
    "stream": (BROWN, "."),
    "send": (ORANGE, "/"),
    "receive": (VERMILION, "\\"),
    "wait": ("rgba(127,127,127,0.12)", "/"),
}
"""Colour and pattern of each kind of event, in the order of the legend."""

MOVES = ("send", "receive")
MAX_EVENTS = 8000


def timeline(run: Run | pd.DataFrame, *, theme: ThemeName = "neutral") -> Figure:
    """Draw what each rank did and when: one row per rank, one bar per event, with a colour and pattern per kind.

    Sends and receives are thin bars, because they may run during a computation. If a trace has more than 8000 events,
    short events of one kind that follow each other closely on a rank are drawn as one bar.

    Args:
        run: A run, or a trace: a table of rank, kind, label, start, end (s) and bytes.
        theme: ``"neutral"`` is readable on light and dark pages.

    Example:
        >>> trace = pd.DataFrame(
        ...     {"rank": [0, 1], "kind": ["decode", "wait"], "label": ["tile 0", ""], "start": [0.0, 0.0],
        ...      "end": [0.5, 0.25], "bytes": [0, 0]}
        ... )
        >>> timeline(trace).describe()
        '2 events on 2 ranks over 500 ms: decode 500 ms, wait 250 ms.'
    """
    check_run(run, trace=True)
    trace = run.trace if isinstance(run, Run) else run
    names = sorted({int(rank) for rank in trace["rank"]})
    total = float(trace["end"].max()) if names else 0.0
    unit = time_unit(total)
    drawn = trace if len(trace) <= MAX_EVENTS else _merged(trace, total / 2000)
    joined = "" if drawn is trace else "; short events of one kind are merged"
    layout: dict[str, Any] = {
        "barmode": "overlay",
        "xaxis": {
            "title": {"text": f"time since the run began ({unit.name})"},
            "range": [0, total * unit.scale or 1],
        },
        "yaxis": rank_axis(names),
        "showlegend": True,
    }
    if not names:
        layout["annotations"] = [nothing("the trace holds no events")]
    return make(
        [kind_bars(group, kind, unit=unit) for kind, group in by_kind(drawn)],
        layout,
        title=f"What each rank did: {total * unit.scale:.4g} {unit.name} in all{_clocks(run)}{joined}",
        description=_describe(trace, names, total=total, unit=unit),
        height=min(max(len(names) * (14 if len(names) > 16 else 36), 130), 900) + 110,
        theme=theme,
        table=_table(drawn),
    )


def _clocks(run: Run | pd.DataFrame) -> str:
    """How far the clocks of several hosts can be trusted."""
    clocks = run.record.what.get("clocks", {}) if isinstance(run, Run) and not run.rehearsed else {}
    if not clocks:
        return ""
    within = max(clock["within"] for clock in clocks.values())
    unit = time_unit(within)
    return f"; clocks of {len(clocks) + 1} hosts, within {within * unit.scale:.2g} {unit.name}"


def _describe(trace: pd.DataFrame, names: list[int], *, total: float, unit: Unit) -> str:
    if not names:
        return "A timeline without events."
    spent = (trace["end"] - trace["start"]).groupby(trace["kind"]).sum() * unit.scale
    parts = ", ".join(f"{kind} {spent[kind]:.4g} {unit.name}" for kind, _ in by_kind(trace))
    ranks = f"{len(names)} rank{'s' * (len(names) != 1)}"
    return f"{len(trace)} events on {ranks} over {total * unit.scale:.4g} {unit.name}: {parts}."


def by_kind(trace: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The events of each kind, in the order of the legend."""
    known = {kind: place for place, kind in enumerate(STYLES)}
    kinds = sorted(trace["kind"].unique(), key=lambda kind: (known.get(kind, len(known)), kind))
    return [(kind, trace[trace["kind"] == kind]) for kind in kinds]


def kind_bars(table: pd.DataFrame, kind: str, *, unit: Unit) -> dict[str, Any]:
    """The events of one kind as a trace of bars."""
    colour, pattern = STYLES.get(kind, (BROWN, "-"))
    ink = "#8A8A8A" if kind == "wait" else "#FFFFFF"
    return event_bars(table, kind, unit=unit, width=0.36 if kind in MOVES else 0.72) | {
        "marker": filled(colour, pattern, ink=ink),
        "hovertext": [_hover(*event) for event in zip(table["label"], table["bytes"], strict=True)],
        "hovertemplate": f"<b>{kind}</b> %{{hovertext}}<br>%{{y}}<br>from %{{base:.4~g}} {unit.name}, "
        f"for %{{customdata:.4~g}} {unit.name}<extra></extra>",
    }


def _hover(label: str, count: int) -> str:
    unit = byte_unit(count)
    return f"{label}, {count * unit.scale:.3g} {unit.name}" if count else str(label)


def _merged(trace: pd.DataFrame, short: float) -> pd.DataFrame:
    """The trace with events shorter than ``short`` joined if the gap between them is shorter too."""
    trace = trace.sort_values(["rank", "kind", "start"], kind="stable")
    brief = trace["end"] - trace["start"] < short
    before = trace.shift()
    joined = (
        brief
        & brief.shift(fill_value=False)
        & (trace["rank"] == before["rank"])
        & (trace["kind"] == before["kind"])
        & (trace["start"] - before["end"] < short)
    )
    groups = trace.assign(count=1).groupby((~joined).cumsum().to_numpy())
    merged = groups.agg(
        {
            "rank": "first",
            "kind": "first",
            "label": "first",
            "start": "min",
            "end": "max",
            "bytes": "sum",
            "count": "sum",
        }
    )
    several = merged["count"] > 1
    merged.loc[several, "label"] += ", " + merged.loc[several, "count"].astype(str) + " events"
    return merged


def _table(drawn: pd.DataFrame) -> pd.DataFrame:
    named = drawn[["rank", "kind", "label", "start", "end", "bytes"]]
    return named.rename(columns={"start": "start (s)", "end": "end (s)"})
