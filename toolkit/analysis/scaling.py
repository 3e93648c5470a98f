"""What is lost when the same work is divided over more ranks, and to what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from toolkit.analysis.time_use import time_use
from toolkit.errors import ToolkitError
from toolkit.runs.run import Run

CAUSES = ("extra computing", "moving", "imbalance", "waiting", "other")


def scaling_table(runs: Sequence[Run], base: Run | None = None) -> pd.DataFrame:
    """Time, speed-up and efficiency of runs of the same work, and the causes of what is lacking.

    The efficiency is the reference's time over that of all ranks together. What is lacking is divided, exactly, into:
    ``extra computing``, more than the reference computed (overlaps come twice, small tiles compute slower, ranks share
    a processor); ``moving``, sending and receiving; ``imbalance``, waiting or idle while the busiest rank computes;
    ``waiting`` beyond that; and ``other``, what no event covers (start, end, the way of the output to the kernel). The
    reference's own time for each counts against it, so a cause can be below 0.

    Args:
        runs: of the same call; of several on as many ranks the quickest counts.
        base: the reference, on one rank; the quickest run on one rank among ``runs`` where None.

    Returns:
        One row for each number of ranks: ``ranks``, ``seconds``, ``speed-up``, ``efficiency``, and the causes as parts
        of the time of all ranks together.

    Raises:
        ToolkitError: where there is no run, no reference, or one that is not on one rank.
    """
    if not runs:
        raise ToolkitError("no runs: give at least one, and one on one rank to compare with.")
    quickest: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: run.seconds):
        quickest.setdefault(ranks_of(run), run)
    base = base or quickest.get(1)
    if base is None or ranks_of(base) != 1:
        found = "none of them" if base is None else f"base, {base!r},"
        raise ToolkitError(f"runs on {sorted(quickest)} ranks, {found} on one: give such a run as base=.")
    alone = _lost(base, 1)
    rows = [_row(count, run, base.seconds, alone) for count, run in sorted(quickest.items())]
    return pd.DataFrame(rows)


def ranks_of(run: Run) -> int:
    """How many ranks a run was on."""
    return run.plan.ranks if run.plan else 1


def _row(ranks: int, run: Run, alone: float, without: pd.Series) -> dict[str, float]:
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
    """Seconds of all ranks together by cause; under ``extra computing`` all computing."""
    uses = time_use(run).reindex(range(ranks))
    # A rank without an event was idle all along.
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
