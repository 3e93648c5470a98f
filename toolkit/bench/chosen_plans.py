"""How good the choices of ``tk.plan`` are: every candidate is run, and the chosen one compared with the quickest.

Half of the cases have a limit on memory, so that the call of one rank is no answer. Choices are made with the cluster
at hand, which measures the operators of the plans that may be the quickest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from toolkit.cluster import Cluster
from toolkit.errors import PlanError
from toolkit.geometry.checks import check_counts
from toolkit.models import demo
from toolkit.planning.choice import Choice, Prediction
from toolkit.planning.choose import plan
from toolkit.planning.rehearsing.profile import Profile
from toolkit.runs.record import Record

LIMITS = (None, 0.6)
"""The most memory of a rank, as a part of what the call on one rank needs; None: no limit."""
NEAR = 1.3
"""Candidates that took longer than this times the quickest one, under every limit, are not run again."""
ENOUGH = 0.05
"""A choice is as good as the best if it takes at most this part longer."""


@dataclass(frozen=True, slots=True)
class Case:
    """A call to divide.

    Attributes:
        model: ``image`` or ``video``.
        shape: The shape of the latent.
        ranks: Number of ranks.
    """

    model: str
    shape: tuple[int, ...]
    ranks: int

    @property
    def vae(self) -> Any:
        """The model."""
        return demo.image_vae() if self.model == "image" else demo.video_vae()

    @property
    def latent(self) -> Tensor:
        """An input: noise."""
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True, slots=True)
class Measured:
    """What a candidate took.

    Attributes:
        seconds: Median of its runs.
        peak: The most bytes on any rank, weights included.
    """

    seconds: float
    peak: int


SHAPES = {
    "image": ((1, 16, 36, 60), (1, 16, 72, 44)),
    "video": ((1, 16, 3, 28, 40), (1, 16, 5, 36, 24)),
}


def cases() -> list[Case]:
    """Models, sizes and ranks; each is asked under every limit."""
    return [Case(model, shape, ranks) for ranks in (1, 2, 3, 4) for model, shapes in SHAPES.items() for shape in shapes]


def bench_plan(turns: int = 5, device: str = "cpu") -> dict[str, Any]:
    """Run the benchmark; returns plain values, ready for JSON.

    Args:
        turns: Number of runs of each candidate that is near the quickest.
        device: Type of device.
    """
    check_counts(turns=turns)
    chosen = cases()
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(chosen), unit="case", desc="bench") as bar:
        for ranks in dict.fromkeys(case.ranks for case in chosen):
            with Cluster(ranks, device) as cluster:
                for case in (one for one in chosen if one.ranks == ranks):
                    rows += _rows(case, cluster, turns=turns)
                    bar.update()
    record = Record.make(demo.image_vae(), {}, plan=None, what={"call": "bench plan", "device": device})
    return {"rows": rows, "record": record.to_json()}


def _rows(case: Case, cluster: Cluster, *, turns: int) -> Iterator[dict[str, Any]]:
    """One row for each limit, and what was predicted and measured of every candidate."""

    def choose(limit: float | None, known: Profile | None) -> Choice | None:
        try:
            return plan(case.vae, case.latent, case.ranks, limit, profile=known, cluster=cluster, progress=False)
        except PlanError:
            return None

    choice = choose(None, None)
    assert choice is not None
    whole = next(one for one in choice.predictions if one.plan is None)
    candidates = [one for one in choice.predictions if not one.refused]
    runs = _runs(case, candidates, cluster, turns=turns, weights=choice.weights)
    for part in LIMITS:
        limit = None if part is None else part * runs[whole.name].peak
        found = choice if limit is None else choose(limit, choice.profile)
        yield {
            "model": case.model,
            "shape": "x".join(map(str, case.shape)),
            "ranks": case.ranks,
            "limit MB": None if limit is None else limit / 1e6,
            **_verdict(found, runs, limit),
            "candidates": [_beside(one, runs[one.name]) for one in (found or choice).predictions if not one.refused],
        }


def _runs(
    case: Case, candidates: Sequence[Prediction], cluster: Cluster, *, turns: int, weights: int
) -> dict[str, Measured]:
    """Run every candidate in turn; from the second turn on, only those that may be the quickest under a limit."""
    taken: dict[str, list[float]] = {one.name: [] for one in candidates}
    peaks: dict[str, int] = {}
    again = list(candidates)
    # Once more than asked for: the first turn sends the model, warms up, and shows who is near.
    for turn in range(turns + 1):
        for one in again:
            run = cluster.decode(case.vae, case.latent, one.plan, progress=False)
            peaks[one.name] = max(peaks.get(one.name, 0), int(run.peaks.max()) + weights)
            taken[one.name].append(float(run.trace["end"].max()))
        if turn == 0:
            again = _near(candidates, taken, peaks)
    return {name: Measured(median(seconds[1:] or seconds), peaks[name]) for name, seconds in taken.items()}


def _near(candidates: Sequence[Prediction], taken: dict[str, list[float]], peaks: dict[str, int]) -> list[Prediction]:
    """The candidates that may be the quickest: those for which no other takes both much less time and less memory."""

    def beaten(one: Prediction) -> bool:
        return any(
            NEAR * taken[other.name][0] < taken[one.name][0] and peaks[other.name] <= peaks[one.name]
            for other in candidates
        )

    return [one for one in candidates if one.plan is None or not beaten(one)]


def _verdict(choice: Choice | None, runs: dict[str, Measured], limit: float | None) -> dict[str, Any]:
    """The choice under a limit, None if it was that nothing fits, beside the quickest candidate that keeps to it."""
    fitting = {name: one for name, one in runs.items() if limit is None or one.peak <= limit}
    best = min(fitting, key=lambda name: fitting[name].seconds, default=None)
    if choice is None:
        return {"chosen": "none fits", "best": best or "none fits", "slower": 0.0, "good": best is None}
    chosen = next(one.name for one in choice.predictions if one.plan == choice.plan and not one.refused)
    if best is None:
        return {"chosen": chosen, "best": "none fits", "slower": 0.0, "good": False}
    slower = runs[chosen].seconds / runs[best].seconds - 1
    fits = chosen in fitting
    return {"chosen": chosen, "best": best, "slower": slower, "fits": fits, "good": fits and slower <= ENOUGH}


def _beside(predicted: Prediction, measured: Measured) -> dict[str, Any]:
    return {
        "plan": predicted.name,
        "seconds, predicted": predicted.seconds,
        "seconds, measured": measured.seconds,
        "peak, predicted": predicted.peak,
        "peak, measured": measured.peak,
        "estimated": predicted.estimated,
    }


def as_text(result: dict[str, Any]) -> str:
    """A result as a readable table: the choice and the quickest candidate in every case."""
    rows = pd.DataFrame(result["rows"]).drop(columns="candidates")
    rows["limit MB"] = ["" if pd.isna(size) else f"{size:.0f}" for size in rows["limit MB"]]
    rows["slower"] = [f"{value:+.1%}" for value in rows["slower"]]
    good = int(rows["good"].sum())
    return (
        f"tk.plan's choice is the quickest plan, or within {ENOUGH:.0%} of it, in {good} of {len(rows)} cases:\n\n"
        f"{rows.to_string(index=False)}"
    )
