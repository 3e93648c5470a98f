"""What a click on a drawing of a replay selects, and the moment that it goes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.analysis.replaying import Replaying
from toolkit.plot.gantt import MOVES
from toolkit.plot.replay_panels import Panel
from toolkit.runs.trace import NONE
from toolkit.widgets.replay_selection import NOTHING, Selection, event_selected, messages_selected


@dataclass(frozen=True, slots=True)
class Pick:
    """What a click means.

    Attributes:
        chosen: What it selects; None if the selection stays.
        time: The moment to go to, in seconds; None if it stays.
    """

    chosen: Selection | None = None
    time: float | None = None


def event_at(replay: Replaying, rank: int, time: float, *, reach: float, thin: bool) -> int:
    """The event of a rank that is drawn at a moment; -1 if there is none.

    Of several that overlap, the shortest of the kind that was aimed at.

    Args:
        replay: The subject.
        rank: The rank.
        time: Seconds since the run began.
        reach: Seconds by which a click may miss a brief event.
        thin: Whether the click is where sends and receives are drawn, as thin bars over the others.
    """
    trace = replay.trace[replay.trace["rank"] == rank]
    start, end = trace["start"].to_numpy(np.float64), trace["end"].to_numpy(np.float64)
    away = np.maximum(0.0, np.maximum(start - time, time - end))
    other = trace["kind"].isin(MOVES).to_numpy() != thin
    order = np.lexsort((end - start, other, away))
    return int(trace.index[order[0]]) if len(order) and away[order[0]] <= reach else NONE


def pick_event(replay: Replaying, event: int, time: float) -> Pick:
    """Select an event, and go to the moment of it that was clicked."""
    row: Any = replay.trace.loc[event]
    return Pick(event_selected(replay, event), min(max(time, float(row["start"])), float(row["end"])))


def pick_arrow(replay: Replaying, panel: Panel, *, time: float, since: float, row: float, slot: float) -> Pick:
    """Select the messages of the arrow nearest to a place; nothing if none is near.

    Args:
        replay: The subject.
        panel: What is drawn of it.
        time: The moment that is shown.
        since: The moment before.
        row: The place in rows of ranks, from the top; 0.5 is the middle of the first.
        slot: The place in columns of arrows.
    """
    pairs = panel.pairs(time, since)
    ends = np.sort(pairs[["sender_row", "receiver_row"]].to_numpy(np.float64) + 0.5, axis=1)
    away = np.abs(pairs["slot"].to_numpy(np.float64) - slot)
    near = (away <= 0.5) & (ends[:, 0] - 0.5 <= row) & (row <= ends[:, 1] + 0.5)
    if not near.any():
        return Pick(NOTHING)
    found = pairs[near].iloc[int(away[near].argmin())]
    under_way = replay.under_way(time, since)
    own = (under_way["sender"] == found["sender"]) & (under_way["receiver"] == found["receiver"])
    return Pick(messages_selected(replay, under_way.index[own].tolist()))
