"""What surrounds the drawings of a replay: controls, a table of ranks, and the selection in words."""

from __future__ import annotations

from typing import Any

from ipywidgets import Dropdown, IntSlider, Layout

from toolkit.analysis.replaying import Replaying
from toolkit.geometry.drawing.html import cell, chip, table, word
from toolkit.plot.theme import byte_unit
from toolkit.widgets.replay_lanes import doing
from toolkit.widgets.replay_selection import Selection
from toolkit.widgets.settings import choice

MOST_ROWS = 8
_LOOK: dict[str, Any] = {"style": {"description_width": "6.5em"}, "tabbable": True}


def in_a_line(replay: Replaying, chosen: Selection) -> str:
    """What is selected, in words that end a sentence; empty if nothing is."""
    words = []
    if chosen.event >= 0:
        event = replay.trace.loc[chosen.event]
        span = f"{(event['end'] - event['start']) * 1e3:.3g} ms"
        words.append(f"rank {event['rank']}: {event['kind']} {event['label']}".rstrip() + f", {span}")
    if chosen.part >= 0:
        words.append(f"{replay.parts.names[chosen.part]} on rank {replay.parts.owners[chosen.part]}")
    if chosen.seams:
        words.append("seams " + ", ".join(f"{one}-{other}" for one, other in chosen.seams))
    if chosen.messages:
        size = int(replay.messages["bytes"].iloc[list(chosen.messages)].sum())
        words.append(f"messages {len(chosen.messages)}, {_size(size)}")
    return f"; selected: {'; '.join(words)}" if words else ""


def _size(size: float) -> str:
    unit = byte_unit(size)
    return f"{size * unit.scale:.3g} {unit.name}"


def controls_of(first: Replaying, most: int, stop: int) -> dict[str, Any]:
    """Sliders and lists by name, in Tab order.

    Args:
        first: The run.
        most: The last stop of the slider of moments.
        stop: Its initial stop.
    """
    noun = first.parts.noun
    width = Layout(width="23em")
    hint = f"Moment, 0 to {most}, evenly spaced in time."
    slider = IntSlider(stop, 0, most, description="moment", tooltip=hint, layout=width, **_LOOK)
    which = f"The {noun} to select, by its number; -1 for none."
    part = IntSlider(-1, -1, len(first.parts.names) - 1, description=noun, tooltip=which, layout=width, **_LOOK)
    hint = "The rank whose events the buttons step through."
    rank: Dropdown = choice("rank", ["any", *map(str, first.ranks)], value="any", hint=hint)
    return {"moment": slider, "part": part, "rank": rank}


def ranks_table(subject: Replaying, time: float) -> str:
    """What each rank does, and its memory; the first eight."""
    busy, levels = doing(subject, time), subject.levels(time)
    rows = [
        [
            chip(rank),
            word(busy.get(rank, "-")),
            cell(_size(levels[rank]) if rank in levels else "-"),
        ]
        for rank in subject.ranks[:MOST_ROWS]
    ]
    if len(subject.ranks) > MOST_ROWS:
        rows.append([cell(f"{len(subject.ranks) - MOST_ROWS} more"), word(""), cell("")])
    return table(["rank", "doing", "memory"], rows, words=["doing"])
