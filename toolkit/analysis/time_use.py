"""How each rank spent a run: every instant counted once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.runs.run import Run

COMPUTING = ("whole", "decode", "norms", "shard", "stage", "blend", "finish")
USES = {"compute": COMPUTING, "send": ("send",), "receive": ("receive",), "wait": ("wait",)}
"""What time goes to, by kinds of events. Where several go on at once, the first of them counts."""


def time_use(run: Run | pd.DataFrame) -> pd.DataFrame:
    """Seconds of each rank by use: ``compute``, ``send``, ``receive``, ``wait`` and ``other``.

    Each row adds up to the whole run: of a run the seconds until its output was in the kernel, of a trace the end of
    its last event. ``other`` is what no event covers (before the first, after the last, between two), and what is
    none of these uses, such as loading a model.

    Args:
        run: a run, or a trace: a table of rank, kind, start and end (s).

    Returns:
        One row per rank that has an event.

    Raises:
        ToolkitError: for a trace without events.

    Example:
        >>> trace = pd.DataFrame({"rank": [0, 0, 1], "kind": ["decode", "send", "wait"], "start": [0.0, 0.75, 0.5],
        ...                       "end": [1.0, 1.5, 2.0]})
        >>> time_use(trace).to_dict("index")[0]
        {'compute': 1.0, 'send': 0.5, 'receive': 0.0, 'wait': 0.0, 'other': 0.5}
    """
    trace = run.trace if isinstance(run, Run) else run
    if trace.empty:
        raise ToolkitError(
            f"{run!r} has no events: there is no time to divide." if isinstance(run, Run) else "no events."
        )
    total = max(float(trace["end"].max()), run.seconds if isinstance(run, Run) else 0.0)
    rows = {rank: _row(events, total) for rank, events in trace.groupby("rank")}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rank")


def _row(events: pd.DataFrame, total: float) -> dict[str, float]:
    row, kinds, before = {}, list[str](), 0.0
    for use, more in USES.items():
        kinds += more
        covered = covered_time(events[events["kind"].isin(kinds)])
        row[use], before = covered - before, covered
    return {**row, "other": total - before}


def covered_time(events: pd.DataFrame) -> float:
    """Seconds that at least one of the events covers.

    Example:
        >>> covered_time(pd.DataFrame({"start": [0.0, 0.5, 4.0], "end": [1.0, 2.0, 5.0]}))
        3.0
    """
    if events.empty:
        return 0.0
    order = np.argsort(events["start"].to_numpy(), kind="stable")
    start: npt.NDArray[np.float64] = events["start"].to_numpy(np.float64)[order]
    end: npt.NDArray[np.float64] = np.maximum.accumulate(events["end"].to_numpy(np.float64)[order])
    # From one event's start, or the end of all before it where that is later.
    begin = np.maximum(start, np.concatenate([[-np.inf], end[:-1]]))
    return float((end - begin).clip(min=0).sum())
