"""Events and memory curves of all ranks as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.runs.memory import MemoryCurve
from toolkit.runs.trace import NONE, Event, Kind, Label

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


def sent_table(trace: pd.DataFrame) -> pd.DataFrame:
    """One row per pair of ranks, from the sends of a trace: sender, receiver, number of messages, bytes.

    Raises:
        ToolkitError: If the trace does not say who receives.

    Example:
        >>> sends = [Event(0, Kind.SEND, Label(), 0.0, 0.1, size, 1) for size in (10, 20)]
        >>> sent_table(trace_table(sends)).values.tolist()
        [[0, 1, 2, 30]]
    """
    sends = trace[trace["kind"] == Kind.SEND.value]
    if "peer" not in trace or (sends["peer"] == NONE).any():
        raise ToolkitError(
            "the trace does not say who receives (column peer), so an older version recorded it: run it again."
        )
    pairs = sends.groupby(["rank", "peer"], as_index=False).agg(messages=("bytes", "size"), bytes=("bytes", "sum"))
    return pairs.rename(columns={"rank": "sender", "peer": "receiver"})


def between_hosts(sent: pd.DataFrame, hosts: Sequence[str]) -> pd.DataFrame:
    """One row per pair of hosts, from a table of :func:`sent_table`; the ranks of one host are a pair, too.

    Args:
        sent: What each rank sent to each other rank.
        hosts: The host of each rank.

    Raises:
        ToolkitError: If the hosts of some ranks are not given.

    Example:
        >>> sent = pd.DataFrame([(0, 1, 2, 30), (0, 2, 1, 5), (1, 2, 1, 6)],
        ...                     columns=["sender", "receiver", "messages", "bytes"])
        >>> between_hosts(sent, ["a", "a", "b"]).values.tolist()
        [['a', 'a', 2, 30], ['a', 'b', 2, 11]]
    """
    ends = ["sender", "receiver"]
    highest = int(sent[ends].max().max()) if len(sent) else 0
    if highest >= len(hosts):
        raise ToolkitError(
            f"rank {highest} sent or received messages, and hosts are given for {len(hosts)} ranks: give those of all."
        )
    named = sent.assign(**{end: [hosts[rank] for rank in sent[end]] for end in ends})
    order = {name: place for place, name in enumerate(dict.fromkeys(hosts))}
    table = named.groupby(ends, as_index=False)[["messages", "bytes"]].sum()
    return table.sort_values(ends, key=lambda names: names.map(order), ignore_index=True)


def memory_table(curves: Sequence[MemoryCurve]) -> pd.DataFrame:
    """Memory curves of several ranks as one table of ``rank``, ``time`` (s) and ``bytes``."""
    parts = [pd.DataFrame({"rank": c.rank, "time": c.times, "bytes": c.bytes}) for c in curves if c.times]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["rank", "time", "bytes"])


def peak_table(curves: Sequence[MemoryCurve]) -> pd.Series:
    """Each rank's peak in bytes, by rank, without the ranks whose memory was not measured."""
    found = {curve.rank: curve.peak for curve in curves if curve.peak is not None}
    return pd.Series(found, name="peak bytes", dtype="int64")
