"""A warning where a pipeline makes fewer calls per step than the schedule has branches."""

from __future__ import annotations

import warnings

import pandas as pd

from toolkit.geometry.stage_plan import StagePlan


def branches_used(plan: StagePlan, trace: pd.DataFrame) -> int:
    """The most branches that a request had pending together.

    Args:
        plan: The plan of the run.
        trace: The run's events.
    """
    known = trace.loc[trace["branch"] >= 0, "branch"]
    return int((known % plan.branches).max()) + 1 if len(known) else 0


def say_unused_branches(plan: StagePlan, trace: pd.DataFrame, *, pipeline: str) -> None:
    """Warn that part of the schedule stayed empty, as where guidance is off or distilled into the model.

    Without overlap, branches follow each other anyway.

    Args:
        plan: The plan of the run.
        trace: The run's events.
        pipeline: The name of the pipeline's class.
    """
    used = branches_used(plan, trace)
    if plan.schedule.overlap and 0 < used < plan.branches:
        calls = "once" if used == 1 else f"{used} times"
        warnings.warn(
            f"{pipeline} called its transformer {calls} per step, and the plan has {plan.branches} branches: part of "
            f"the schedule stayed empty. Plan with branches={used}, or fill it with several calls at once "
            "(Schedule.requests).",
            stacklevel=2,
        )
