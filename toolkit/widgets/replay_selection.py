"""What is selected in a replay: an event or a part, and the seams and messages that belong to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.analysis.replaying import Replaying
from toolkit.errors import PlanError
from toolkit.geometry.checks import is_int, shown
from toolkit.runs.trace import NONE, Kind

_TARGET = re.compile(r"^edge (\d+), to tile (\d+)$")
"""The label of the message with a tile's edge; see :mod:`toolkit.distributed.tiles.edge_exchange`."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection, which the map, the timeline, the memory and the microscope of a replay share.

    Attributes:
        event: The row of the trace that is selected; -1 for none.
        part: The tile, shard or stage, by its number; -1 for none.
        rank: The rank of the event, or of the part; -1 for none.
        seams: The seams, each as the numbers of the two tiles that meet there.
        messages: The messages, as rows of :attr:`toolkit.analysis.replaying.Replaying.messages`.
    """

    event: int = NONE
    part: int = NONE
    rank: int = NONE
    seams: tuple[tuple[int, int], ...] = ()
    messages: tuple[int, ...] = ()


NOTHING = Selection()


def part_selected(replay: Replaying, part: Any) -> Selection:
    """A part with all its seams and messages; -1 selects nothing.

    Raises:
        PlanError: If there is no such part.
    """
    count = len(replay.parts.names)
    if not is_int(part) or not NONE <= part < count:
        raise PlanError(f"part={shown(part)}: must be an int from 0 to {count - 1}, or -1 for none.")
    if part == NONE:
        return NOTHING
    messages = np.flatnonzero(replay.messages["part"].to_numpy() == part)
    return Selection(NONE, part, int(replay.parts.owners[part]), _seams(replay, part), tuple(messages.tolist()))


def event_selected(replay: Replaying, event: Any) -> Selection:
    """An event with its part, and the seams and messages that belong to it.

    A send, a receive or a wait selects the messages that it is about. Any other event selects those of its part.

    Raises:
        PlanError: If the trace has no such row.
    """
    if not is_int(event) or event not in replay.trace.index:
        raise PlanError(f"event={shown(event)}: must be a row of the trace, from 0 to {len(replay.trace) - 1}.")
    row = replay.trace.loc[event]
    kind, rank = row["kind"], int(row["rank"])
    if kind in (Kind.SEND, Kind.RECEIVE, Kind.WAIT):
        found = _messages_of(replay, event)
        part = int(replay.messages["part"].iloc[found[0]]) if found else NONE
        return Selection(event, part, rank, _crossed(replay, part, row["label"]), found)
    part = int(replay.parts.of_event[replay.trace.index.get_loc(event)])
    whole = part_selected(replay, part)
    return Selection(event, part, rank, whole.seams, whole.messages)


def seam_selected(replay: Replaying, seam: tuple[int, int]) -> Selection:
    """A seam with its earlier tile and the messages that carry edges across it."""
    one, other = seam
    ends = replay.messages["label"].str.extract(_TARGET)
    across = {(str(one), str(other)), (str(other), str(one))}
    found = [row for row, pair in enumerate(zip(ends[0], ends[1], strict=True)) if pair in across]
    return Selection(NONE, one, int(replay.parts.owners[one]), ((one, other),), tuple(found))


def messages_selected(replay: Replaying, messages: Sequence[int]) -> Selection:
    """Some messages of one sender, with the part and the seams of the largest."""
    table = replay.messages.loc[list(messages)]
    largest: Any = table.iloc[int(table["bytes"].to_numpy().argmax())]
    part, sender = int(largest["part"]), int(largest["sender"])
    return Selection(NONE, part, sender, _crossed(replay, part, largest["label"]), tuple(messages))


def events_of(replay: Replaying, chosen: Selection, rank: int | None) -> list[int]:
    """The rows of the trace to step through: the events of the selected part, of a rank, or all; by start.

    The events of a part are those that compute it, send one of its messages or take one.
    """
    here = np.ones(len(replay.trace), bool)
    if chosen.part != NONE:
        own = replay.messages[replay.messages["part"] == chosen.part]
        here = (replay.parts.of_event == chosen.part) | replay.trace.index.isin([*own["sent"], *own["taken"]])
    if rank is not None:
        here &= (replay.trace["rank"] == rank).to_numpy()
    rows: list[int] = replay.trace[here].sort_values("start", kind="stable").index.tolist()
    return rows


def _messages_of(replay: Replaying, event: int) -> tuple[int, ...]:
    """The message that an event sends, takes, or waits for."""
    messages, row = replay.messages, replay.trace.loc[event]
    if row["kind"] == Kind.WAIT:
        here = (messages["receiver"] == row["rank"]) & (messages["sender"] == row["peer"])
        here &= (messages["label"] == row["label"]) & (messages["end"] >= row["end"])
        return tuple(np.flatnonzero(here)[:1].tolist())
    column = "sent" if row["kind"] == Kind.SEND else "taken"
    return tuple(np.flatnonzero(messages[column] == event).tolist())


def _crossed(replay: Replaying, part: int, label: str) -> tuple[tuple[int, int], ...]:
    """The seam that a message with a tile's edge crosses; none for other messages."""
    named = _TARGET.match(label)
    return _seams(replay, part, int(named[2])) if named and part != NONE else ()


def _seams(replay: Replaying, part: int, other: int = NONE) -> tuple[tuple[int, int], ...]:
    """The seams of a tile, or only the one with another tile; tiles that meet at a corner have none."""
    grid = replay.run.way.seam_grid
    if grid is None:
        return ()
    found = []
    position, shape = grid.tiles[part].position, grid.shape
    for axis, place in enumerate(position):
        for step in (-1, 1):
            if 0 <= place + step < shape[axis]:
                near = grid.index((*position[:axis], place + step, *position[axis + 1 :]))
                found.append((min(part, near), max(part, near)))
    return tuple(seam for seam in sorted(found) if other in (NONE, *seam))
