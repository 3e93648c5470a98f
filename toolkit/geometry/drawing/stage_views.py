"""The HTML of splits, schedules and stage plans in a notebook."""

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
    from toolkit.geometry.simulate import TimedAction

MOST_SPANS = 4
"""Most spans of layers that a row of a table lists."""


def split_view(stages: Sequence[Span], facts: str) -> str:
    """One line per stage, beside the row of layers.

    Args:
        stages: The layers of each stage.
        facts: Further facts, in one sentence.
    """
    counts, layers = [len(stage) for stage in stages], stages[-1].stop
    lines = [
        [chip(index), bar(len(stage), max(counts)), cell(f"{100 * len(stage) / layers:.1f} %"), cell(stage)]
        for index, stage in enumerate(stages[:MOST_ROWS])
    ]
    if rest := counts[MOST_ROWS:]:
        part = f"{100 * sum(rest) / layers:.1f} %"
        lines.append([cell(f"{len(rest)} more"), cell(sum(rest)), cell(part), cell(f"{layers - sum(rest)}:{layers}")])
    summary = f"The stage of each layer: {facts}"
    picture = draw_grid(("layer",), (tuple(stages),), owners=range(len(stages)), summary=summary, noun="stage")
    return view("StageSplit", facts, table=table(["stage", "layers", "of all", "which"], lines), picture=picture)


def schedule_view(lines: Mapping[str, str], timed: Sequence[TimedAction], *, ranks: int, facts: str) -> str:
    """The numbers of a schedule, beside its first two steps.

    Args:
        lines: The numbers, by name.
        timed: The actions to draw.
        ranks: Number of ranks.
        facts: Further facts, in one sentence.
    """
    rows = [[word(name), cell(value)] for name, value in lines.items()]
    return view("Schedule", facts, table=table([], rows), picture=gantt(timed, ranks, facts=facts))


def plan_view(
    ledger: Sequence[tuple[Mapping[str, int], Sequence[Span]]], timed: Sequence[TimedAction], *, ranks: int, facts: str
) -> str:
    """One line per rank, beside the first two steps of the schedule.

    Args:
        ledger: The place in the mesh and the layers of each rank.
        timed: The actions to draw.
        ranks: Number of ranks of one schedule.
        facts: Further facts, in one sentence.
    """
    axes = list(ledger[0][0])
    lines = []
    for rank, (place, spans) in enumerate(ledger[:MOST_ROWS]):
        which = " ".join(map(str, spans[:MOST_SPANS])) + (" ..." if len(spans) > MOST_SPANS else "")
        lines.append([chip(rank), *(cell(place[axis]) for axis in axes), cell(sum(map(len, spans))), word(which)])
    if rest := ledger[MOST_ROWS:]:
        lines.append([cell(f"{len(rest)} more"), *(cell("") for _ in axes), cell(""), word("")])
    head = ["rank", *axes, "layers", "which"]
    return view("StagePlan", facts, table=table(head, lines, words=["which"]), picture=gantt(timed, ranks, facts=facts))


def gantt(timed: Sequence[TimedAction], ranks: int, *, facts: str) -> Picture:
    """The actions over time, coloured by branch. Steps after the first are paler."""
    bars = [
        Bar(
            rank=one.rank,
            start=float(one.start),
            stop=float(one.stop),
            label=str(one.action),
            branch=one.action.branch,
            title=f"step {one.step}, rank {one.rank}: chunk {one.action.chunk} of branch {one.action.branch}, "
            f"{float(one.start):.3g} to {float(one.stop):.3g}",
            faint=one.step > 0,
        )
        for one in timed
    ]
    summary = f"The actions of each rank over time, coloured by branch; the second step is paler: {facts}"
    return draw_gantt(bars, ranks, summary=summary, unit="time (1: a branch on one device)")
