"""The trace of a run in stages as tables: what was computed, and what was sent."""

from __future__ import annotations

import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.stage_plan import StagePlan
from toolkit.runs.trace import NONE, Kind

KEYS = ["rank", "expert", "step", "branch", "chunk"]


def loop_events(trace: pd.DataFrame) -> pd.DataFrame:
    """The events of the denoising loop: those that belong to a branch.

    Args:
        trace: The trace of a run.

    Raises:
        ToolkitError: If the trace has no stages, as in a run of something else.

    Example:
        >>> from toolkit.runs.run_tables import trace_table
        >>> from toolkit.runs.trace import Event, Label
        >>> layers = Event(1, Kind.STAGE, Label(chunk=2, branch=0, step=3), 0.0, 1.0)
        >>> decode = Event(1, Kind.WHOLE, Label(text="vae.decode"), 1.0, 2.0)
        >>> loop_events(trace_table([layers, decode]))[["rank", "kind", "chunk", "branch", "step"]].to_dict("records")
        [{'rank': 1, 'kind': 'stage', 'chunk': 2, 'branch': 0, 'step': 3}]
    """
    if not set(KEYS) <= set(trace.columns):
        raise ToolkitError(
            "the trace does not say which branch its events belong to, so it is from an older version: run again."
        )
    events = trace[trace["branch"] != NONE]
    if not (events["kind"] == Kind.STAGE.value).any():
        raise ToolkitError(
            "the trace has no stages: give a run of cluster.generate with a StagePlan; tk.plot.timeline draws any run."
        )
    return events.reset_index(drop=True)


def actions(events: pd.DataFrame, plan: StagePlan) -> pd.DataFrame:
    """One row per action: one branch passing through one chunk.

    Args:
        events: The result of :func:`loop_events`.
        plan: The run's plan.

    Returns:
        ``rank``, ``chunk``, ``branch``, ``request``, ``step``, ``expert``; ``start`` and ``end`` of its layers (s since
        the run began); ``seconds`` spent computing, which include what comes before the layers (embeddings, text). That
        part runs before ``start`` if the stage then had to wait for its input.
    """
    stretches = events[events["kind"] == Kind.STAGE.value].assign(seconds=lambda t: t["end"] - t["start"])
    # What a rank computes before it receives its input is a separate stretch; the layers are the last stretch.
    table = stretches.sort_values("start", kind="stable").groupby(KEYS, sort=False)
    rows = table.agg(start=("start", "last"), end=("end", "last"), seconds=("seconds", "sum")).reset_index()
    rows["request"] = rows["branch"] // plan.branches
    order = ["rank", "chunk", "branch", "request", "step", "expert", "start", "end", "seconds"]
    return rows[order].sort_values(["start", "rank"], kind="stable", ignore_index=True)


def hops(events: pd.DataFrame) -> pd.Series:
    """Seconds from the end of a chunk to the arrival of its result, for each message whose receiver was waiting.

    If the receiver was busy, the message may have arrived long before it was taken; such messages are left out.

    Args:
        events: The result of :func:`loop_events`.
    """
    computed = events[events["kind"] == Kind.STAGE.value]
    last = computed.groupby(["expert", "step", "branch"])["chunk"].transform("max")
    # The last chunk's result is sent without a chunk: see Label.chunk.
    made = computed.assign(chunk=computed["chunk"].where(computed["chunk"] < last, NONE))
    what = KEYS[1:]
    ended = made.groupby(what)["end"].max().rename("made")
    moved = events[events["kind"].isin((Kind.WAIT.value, Kind.RECEIVE.value))].groupby(KEYS, as_index=False)
    came = moved.agg(first=("start", "min"), end=("end", "max")).join(ended, on=what)
    waited = came[came["first"] < came["made"]]
    return (waited["end"] - waited["made"]).rename("hop s")
