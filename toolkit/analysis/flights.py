"""The messages of a trace: each send matched with its receive, so that a message has a beginning and an end."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.runs.trace import NONE, Kind

SAME = ["sender", "receiver", "label", "bytes"]
"""What a send and its receive have in common; among several that agree, the first send meets the first receive."""

COLUMNS = ["sender", "receiver", "start", "end", "bytes", "label", "tile", "chunk", "branch", "expert", "sent", "taken"]


def flights_of(trace: pd.DataFrame) -> pd.DataFrame:
    """One row per message, by start: from the moment its sender begins to send until its receiver has taken it.

    A trace does not say when a message arrives. So a message that waits in a buffer for a receiver that is still busy
    counts as under way. A send without a receive, as links between stages post when a form changes, ends with its own
    event.

    Args:
        trace: The trace of a run, or of a rehearsal.

    Returns:
        ``sender``, ``receiver``, ``start`` and ``end`` (s), ``bytes``, ``label``, ``tile``, ``chunk``, ``branch``,
        ``expert``; ``sent`` and ``taken``, the rows of the trace that send and receive it (-1: nobody received it).

    Raises:
        ToolkitError: If the trace does not say who receives, or which tile or stage a message belongs to.

    Example:
        >>> from toolkit.runs.run_tables import trace_table
        >>> from toolkit.runs.trace import Event, Label
        >>> halo = Label(purpose="halo h")
        >>> send, take = Event(0, Kind.SEND, halo, 1.0, 1.5, 64, 1), Event(1, Kind.RECEIVE, halo, 3.0, 3.5, 64, 0)
        >>> flights_of(trace_table([send, take]))[["sender", "receiver", "start", "end", "bytes"]].values.tolist()
        [[0.0, 1.0, 1.0, 3.5, 64.0]]
    """
    if missing := [name for name in ("tile", "chunk", "branch", "expert") if name not in trace.columns]:
        raise ToolkitError(f"the trace has no column {missing[0]!r}, so an older version recorded it: run it again.")
    if "peer" not in trace or (trace.loc[trace["kind"] == Kind.SEND.value, "peer"] == NONE).any():
        raise ToolkitError(
            "the trace does not say who receives (column peer), so an older version recorded it: run it again."
        )
    sends, receives = (
        trace[trace["kind"] == kind.value].sort_values("start", kind="stable") for kind in (Kind.SEND, Kind.RECEIVE)
    )
    left = sends.rename(columns={"rank": "sender", "peer": "receiver"}).assign(sent=sends.index)
    right = receives.rename(columns={"rank": "receiver", "peer": "sender"}).assign(taken=receives.index)
    for table in (left, right):
        table["turn"] = table.groupby(SAME, sort=False).cumcount()
    right = right[[*SAME, "turn", "end", "taken"]].rename(columns={"end": "until"})
    both = left.merge(right, on=[*SAME, "turn"], how="left")
    # Clocks of several hosts may disagree by more than a message takes.
    both["end"] = np.fmax(both["end"], both["until"])
    both["taken"] = both["taken"].fillna(NONE).astype(int)
    return both[COLUMNS].sort_values(["start", "sender"], kind="stable", ignore_index=True)


def slots_of(pairs: Iterable[tuple[int, int]]) -> list[int]:
    """A column for each arrow between two rows, such that arrows in one column do not touch.

    Args:
        pairs: The rows at the two ends of each arrow.

    Example:
        >>> slots_of([(0, 1), (1, 0), (2, 3), (0, 3)])
        [0, 1, 0, 2]
    """
    taken: list[list[tuple[int, int]]] = []
    found = []
    for pair in pairs:
        low, high = sorted(pair)
        free = (place for place, column in enumerate(taken) if all(high < a or b < low for a, b in column))
        place = next(free, len(taken))
        if place == len(taken):
            taken.append([])
        taken[place].append((low, high))
        found.append(place)
    return found
