"""How each rank spent a run, counting every instant once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.runs.run import Run
from toolkit.runs.trace import COMPUTING, Kind

USES = {"compute": COMPUTING, "send": (Kind.SEND,), "receive": (Kind.RECEIVE,), "wait": (Kind.WAIT,)}
"""The uses of time and their kinds of events. If several events overlap, the use listed first counts."""


def time_use(run: Run | pd.DataFrame) -> pd.DataFrame:
    """Seconds of each rank by use: ``compute``, ``send``, ``receive``, ``wait`` and ``other``.

    Each row adds up to the whole run: the seconds until the output was in the kernel for a run, the end of the last
    event for a trace. ``other`` is time that no event covers (before the first, after the last, in between), and events
    that are none of these uses, such as loading a model.

    Args:
        run: A run, or a trace: a table of rank, kind, start and end (s).

    Returns:
        One row per rank that has events.

    Raises:
        ToolkitError: If the trace has no events.

    Example:
        >>> trace = pd.DataFrame({"rank": [0, 0, 1], "kind": ["decode", "send", "wait"], "start": [0.0, 0.75, 0.5],
        ...                       "end": [1.0, 1.5, 2.0]})
        >>> time_use(trace).to_dict("index")[0]
        {'compute': 1.0, 'send': 0.5, 'receive': 0.0, 'wait': 0.0, 'other': 0.5}
    """
    trace = run.trace if isinstance(run, Run) else run
    if trace.empty:
        raise ToolkitError(
            f"{repr(run) if isinstance(run, Run) else 'the trace'} has no events, so there is no time to account for: "
            "give a run that recorded a trace."
        )
    total = max(float(trace["end"].max()), run.seconds if isinstance(run, Run) else 0.0)
    rows = {rank: _row(events, total) for rank, events in trace.groupby("rank")}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rank")


def _row(events: pd.DataFrame, total: float) -> dict[str, float]:
    row, kinds, before = {}, list[str](), 0.0
    for use, more in USES.items():
        kinds += [kind.value for kind in more]
        covered = covered_time(events[events["kind"].isin(kinds)])
        row[use], before = covered - before, covered
    return {**row, "other": total - before}


def covered_time(events: pd.DataFrame) -> float:
    """Seconds covered by at least one of the events.

    Example:
        >>> covered_time(pd.DataFrame({"start": [0.0, 0.5, 4.0], "end": [1.0, 2.0, 5.0]}))
        3.0
    """
    if events.empty:
        return 0.0
    order = np.argsort(events["start"].to_numpy(), kind="stable")
    start: npt.NDArray[np.float64] = events["start"].to_numpy(np.float64)[order]
    end: npt.NDArray[np.float64] = np.maximum.accumulate(events["end"].to_numpy(np.float64)[order])
    # Each event adds the time from its start, or from the latest end of all events before it if that is later.
    begin = np.maximum(start, np.concatenate([[-np.inf], end[:-1]]))
    return float((end - begin).clip(min=0).sum())
