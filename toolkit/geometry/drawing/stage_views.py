"""What splits, schedules and stage plans show in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from toolkit.geometry.drawing.html import bar, cell, chip, table, view, word
from toolkit.geometry.drawing.html_views import MOST_ROWS
from toolkit.geometry.drawing.svg import Picture
from toolkit.geometry.drawing.svg_gantt import Bar, draw_gantt
from toolkit.geometry.drawing.svg_grid import draw_grid
from toolkit.geometry.span import Span

if TYPE_CHECKING:
    from toolkit.geometry.simulate import Event

MOST_SPANS = 4
"""Runs of layers that a row of a table lists."""


def split_view(stages: Sequence[Span], facts: str) -> str:
    """A line per stage, beside the row of layers.

    Args:
        stages: the layers of each stage.
        facts: what else to say, in one sentence.
    """
    counts, layers = [len(stage) for stage in stages], stages[-1].stop
    lines = [
        [chip(index), bar(len(stage), max(counts)), cell(f"{100 * len(stage) / layers:.1f} %"), cell(stage)]
        for index, stage in enumerate(stages[:MOST_ROWS])
    ]
    if rest := counts[MOST_ROWS:]:
        share = f"{100 * sum(rest) / layers:.1f} %"
        lines.append([cell(f"{len(rest)} more"), cell(sum(rest)), cell(share), cell(f"{layers - sum(rest)}:{layers}")])
    summary = f"The stage of each layer: {facts}"
    picture = draw_grid(("layer",), (tuple(stages),), range(len(stages)), summary=summary, noun="stage")
    return view("StageSplit", facts, table(["stage", "layers", "share", "which"], lines), picture)


def schedule_view(lines: Mapping[str, str], events: Sequence[Event], ranks: int, facts: str) -> str:
    """What a schedule takes, beside two steps of it.

    Args:
        lines: what to say, by name.
        events: the actions to draw.
        ranks: number of ranks.
        facts: what else to say, in one sentence.
    """
    rows = [[word(name), cell(value)] for name, value in lines.items()]
    return view("Schedule", facts, table([], rows), gantt(events, ranks, facts))


def plan_view(
    ledger: Sequence[tuple[Mapping[str, int], Sequence[Span]]], events: Sequence[Event], ranks: int, facts: str
) -> str:
    """A line per rank, beside two steps of the schedule.

    Args:
        ledger: place in the mesh and layers of each rank.
        events: the actions to draw.
        ranks: number of ranks of one schedule.
        facts: what else to say, in one sentence.
    """
    axes = list(ledger[0][0])
    lines = []
    for rank, (place, spans) in enumerate(ledger[:MOST_ROWS]):
        which = " ".join(map(str, spans[:MOST_SPANS])) + (" ..." if len(spans) > MOST_SPANS else "")
        lines.append([chip(rank), *(cell(place[axis]) for axis in axes), cell(sum(map(len, spans))), word(which)])
    if rest := ledger[MOST_ROWS:]:
        lines.append([cell(f"{len(rest)} more"), *(cell("") for _ in axes), cell(""), word("")])
    head = ["rank", *axes, "layers", "which"]
    return view("StagePlan", facts, table(head, lines, words=["which"]), gantt(events, ranks, facts))


def gantt(events: Sequence[Event], ranks: int, facts: str) -> Picture:
    """Actions in time, coloured by branch; steps after the first are paler."""
    bars = [
        Bar(
            rank=event.rank,
            start=float(event.start),
            stop=float(event.stop),
            label=str(event.action),
            branch=event.action.branch,
            title=f"step {event.step}, rank {event.rank}: chunk {event.action.chunk} of branch {event.action.branch}, "
            f"{float(event.start):.3g} to {float(event.stop):.3g}",
            faint=event.step > 0,
        )
        for event in events
    ]
    summary = f"What each rank computes over time, coloured by branch, the second step paler: {facts}"
    return draw_gantt(bars, ranks, summary, unit="time (1: a branch on one device)")
