"""What is lost when the same work is divided over more ranks, by cause."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from toolkit.analysis.time_use import time_use
from toolkit.errors import ToolkitError
from toolkit.runs.run import Run

CAUSES = ("extra computing", "moving", "imbalance", "waiting", "other")


def scaling_table(runs: Sequence[Run], base: Run | None = None) -> pd.DataFrame:
    """Time, speed-up and efficiency of runs of the same work, and the causes of the missing efficiency.

    The efficiency is the reference's time divided by the time of all ranks together. What is missing splits exactly
    into:
    ``extra computing``, computing beyond the reference's (overlaps are computed twice, small tiles run slower, ranks
    share a processor); ``moving``, sending and receiving; ``imbalance``, waiting or idling while the busiest rank
    computes; ``waiting`` beyond that; and ``other``, time that no event covers (start, end, moving the output to the
    kernel). The reference's own time for each cause is subtracted, so a cause can be negative.

    Args:
        runs: Runs of the same call. Of several runs on the same number of ranks, the fastest counts.
        base: The reference, a run on one rank; by default the fastest one-rank run among ``runs``.

    Returns:
        One row per number of ranks: ``ranks``, ``seconds``, ``speed-up``, ``efficiency``, and the causes as fractions
        of the time of all ranks together.

    Raises:
        ToolkitError: If there are no runs, or there is no reference, or the reference is not on one rank.
    """
    if not runs:
        raise ToolkitError("there are no runs: give at least one, and a run on one rank to compare with.")
    quickest: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: run.seconds):
        quickest.setdefault(ranks_of(run), run)
    base = base or quickest.get(1)
    if base is None or ranks_of(base) != 1:
        found = f"the runs are on {sorted(quickest)} ranks" if base is None else f"base={base!r} is on {ranks_of(base)}"
        raise ToolkitError(f"{found}, but the reference must be on one rank: pass such a run as base=.")
    alone = _lost(base, 1)
    rows = [_row(count, run, alone=base.seconds, without=alone) for count, run in sorted(quickest.items())]
    return pd.DataFrame(rows)


def ranks_of(run: Run) -> int:
    """The number of ranks of a run."""
    return run.way.ranks


def _row(ranks: int, run: Run, *, alone: float, without: pd.Series) -> dict[str, float]:
    lost = (_lost(run, ranks) - without) / (ranks * run.seconds)
    speed = alone / run.seconds
    return {
        "ranks": ranks,
        "seconds": run.seconds,
        "speed-up": speed,
        "efficiency": speed / ranks,
        **{cause: float(lost[cause]) for cause in CAUSES},
    }


def _lost(run: Run, ranks: int) -> pd.Series:
    """Seconds of all ranks together by cause; ``extra computing`` holds all computing."""
    uses = time_use(run).reindex(range(ranks))
    # A rank without any event was idle for the whole run.
    uses = uses.fillna({"other": run.seconds}).fillna(0.0)
    slack = uses["compute"].max() - uses["compute"]
    idle = uses["wait"] + uses["other"]
    imbalance = np.minimum(slack, idle)
    waiting = (uses["wait"] - imbalance).clip(lower=0.0)
    return pd.Series(
        {
            "extra computing": uses["compute"].sum(),
            "moving": uses["send"].sum() + uses["receive"].sum(),
            "imbalance": imbalance.sum(),
            "waiting": waiting.sum(),
            "other": (idle - imbalance - waiting).sum(),
        }
    )
