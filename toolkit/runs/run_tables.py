"""Events and memory curves of all ranks as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

import pandas as pd

from toolkit.runs.memory import MemoryCurve
from toolkit.runs.trace import Event, Label

_OF_EVENT = tuple(one.name for one in fields(Event))
_OF_LABEL = tuple(one.name for one in fields(Label) if one.name != "text")


def trace_table(events: Iterable[Event]) -> pd.DataFrame:
    """One row per event, by start.

    The column ``label`` is the event's label in words; the label's fields are columns of their own, -1 or empty where
    they do not apply.

    Example:
        >>> from toolkit.runs.trace import Kind
        >>> table = trace_table([Event(0, Kind.DECODE, Label(tile=3), 0.0, 0.5, 1024)])
        >>> table.columns.tolist()
        ['rank', 'kind', 'label', 'start', 'end', 'bytes', 'peer',
         'tile', 'chunk', 'branch', 'step', 'expert', 'purpose', 'module']
        >>> table[["kind", "label"]].values.tolist()
        [['decode', 'tile 3']]
    """
    rows = [
        (
            event.rank,
            event.kind.value,
            str(event.label),
            *(getattr(event, name) for name in _OF_EVENT[3:]),
            *(getattr(event.label, name) for name in _OF_LABEL),
        )
        for event in events
    ]
    table = pd.DataFrame(rows, columns=[*_OF_EVENT, *_OF_LABEL])
    return table.sort_values(["start", "rank"], kind="stable", ignore_index=True)


def memory_table(curves: Sequence[MemoryCurve]) -> pd.DataFrame:
    """Memory curves of several ranks as one table of ``rank``, ``time`` (s) and ``bytes``."""
    parts = [pd.DataFrame({"rank": c.rank, "time": c.times, "bytes": c.bytes}) for c in curves if c.times]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["rank", "time", "bytes"])


def peak_table(curves: Sequence[MemoryCurve]) -> pd.Series:
    """Each rank's peak in bytes, by rank, without the ranks whose memory was not measured."""
    found = {curve.rank: curve.peak for curve in curves if curve.peak is not None}
    return pd.Series(found, name="peak bytes", dtype="int64")
