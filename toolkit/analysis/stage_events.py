"""The trace of a run in stages as tables: what was computed, and what was sent."""

from __future__ import annotations

import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.stage_plan import StagePlan

LABEL = r"^(?P<chunk>\d*)F(?P<branch>\d+) step (?P<step>\d+)(?: (?P<expert>\S+))?$"
"""Of events in the loop: ``2F0 step 3`` of a stage and of what it hands on, ``F0 step 3`` of a result."""

KEYS = ["rank", "expert", "step", "branch", "chunk"]


def loop_events(trace: pd.DataFrame) -> pd.DataFrame:
    """The events of the denoising loop, their labels read.

    Args:
        trace: of a run.

    Returns:
        As the trace, with ``chunk`` (-1 for a result), ``branch``, ``step`` and ``expert`` (empty where there is only
        one transformer) in place of the label.

    Raises:
        ToolkitError: where no stage computed: a run of something else.

    Example:
        >>> trace = pd.DataFrame({"rank": 1, "kind": ["stage", "whole"], "label": ["2F0 step 3", "vae.decode"],
        ...                       "start": [0.0, 1.0], "end": [1.0, 2.0], "bytes": 0})
        >>> loop_events(trace)[["rank", "kind", "chunk", "branch", "step"]].to_dict("records")
        [{'rank': 1, 'kind': 'stage', 'chunk': 2, 'branch': 0, 'step': 3}]
    """
    read = trace["label"].str.extract(LABEL)
    events = trace.join(read).dropna(subset=["branch"]).drop(columns="label")
    if not (events["kind"] == "stage").any():
        raise ToolkitError(
            "the trace has no stages: give a run of cluster.generate with a StagePlan; tk.plot.timeline draws any run."
        )
    chunk = events["chunk"].replace("", "-1").astype(int)
    numbers = {name: events[name].astype(int) for name in ("branch", "step")}
    return events.assign(chunk=chunk, expert=events["expert"].fillna(""), **numbers).reset_index(drop=True)


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
    stretches = events[events["kind"] == "stage"].assign(seconds=lambda t: t["end"] - t["start"])
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
    computed = events[events["kind"] == "stage"]
    last = computed.groupby(["expert", "step", "branch"])["chunk"].transform("max")
    # A result is the last chunk's, and has no chunk in its label.
    made = computed.assign(chunk=computed["chunk"].where(computed["chunk"] < last, -1))
    what = KEYS[1:]
    ended = made.groupby(what)["end"].max().rename("made")
    moved = events[events["kind"].isin(("wait", "receive"))].groupby(KEYS, as_index=False)
    came = moved.agg(first=("start", "min"), end=("end", "max")).join(ended, on=what)
    waited = came[came["first"] < came["made"]]
    return (waited["end"] - waited["made"]).rename("hop s")
