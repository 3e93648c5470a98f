"""How right rehearsals are: predicted beside measured, for every mode, on this machine.

Each turn makes a new profile and measures runs right after it, because the speed of a shared machine drifts. What a
turn predicts is compared with what the same turn measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from toolkit.bench.rehearsed_pipelines import PipelineCase, pipeline_cases
from toolkit.cluster import Cluster
from toolkit.geometry import Assignment, Blend, ShardPlan, TileGrid, TilePlan
from toolkit.geometry.checks import check_counts
from toolkit.geometry.plan import Plan
from toolkit.models import demo
from toolkit.models.autoencoders.direction import DirectionName
from toolkit.planning.rehearsing.profiling import profile
from toolkit.planning.rehearsing.rehearsal import Rehearsal
from toolkit.planning.rehearsing.rehearse import rehearse
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.trace import Kind

RUNS = 3
"""Number of runs in a turn; their median is compared."""


@dataclass(frozen=True, slots=True)
class Case:
    """One call, both rehearsed and run.

    Attributes:
        name: The call in words.
        model: ``image`` or ``video``.
        shape: The shape of its input.
        plan: How it is divided.
        direction: The model call to make.
        options: Fields of :class:`toolkit.Options`.
        stream: Whether the output is handed over in bands.
    """

    name: str
    model: str
    shape: tuple[int, ...]
    plan: Plan | None
    direction: DirectionName = "decode"
    options: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False

    @property
    def ranks(self) -> int:
        """Number of ranks that it takes."""
        return 1 if self.plan is None else self.plan.ranks

    @property
    def vae(self) -> Any:
        """The model."""
        return demo.image_vae() if self.model == "image" else demo.video_vae()

    @property
    def x(self) -> Tensor:
        """An input: noise."""
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(0))

    def run(self, cluster: Cluster) -> Run:
        """Run it."""
        if self.direction == "encode":
            return cluster.encode(self.vae, self.x, self.plan, progress=False, **self.options)
        stream = (lambda band, start: None) if self.stream else None
        return cluster.decode(self.vae, self.x, self.plan, progress=False, stream=stream, **self.options)

    def rehearse(self, cluster: Cluster, device: str) -> Rehearsal:
        """Make a profile on the cluster's ranks, and rehearse with it."""
        given: dict[str, Any] = {"direction": self.direction, "stream": self.stream, **self.options}
        measured = profile(self.vae, self.shape, self.plan, device=device, cluster=cluster, **given)
        return rehearse(self.vae, self.shape, self.plan, profile=measured, **given)


IMAGE, VIDEO = (1, 16, 50, 75), (1, 16, 5, 32, 32)


def cases() -> list[Case]:
    """Every mode of a decode and encode, on one and two ranks."""
    picture, film = _tiles({"h": 50, "w": 75}, 24, 8), _tiles({"h": 32, "w": 32}, 18, 4)
    slivers = TileGrid.strided({"h": 50, "w": 75}, 24, 10)
    met = TilePlan(slivers, Blend.diffusers(), Assignment.balanced(slivers, 2))
    sample = (1, 3, 9, 128, 128)
    return [
        Case("image, whole", "image", IMAGE, None),
        Case("image, shards 2x1", "image", IMAGE, ShardPlan(h=2)),
        Case("image, shards 1x2, ring", "image", IMAGE, ShardPlan(w=2, attention="ring")),
        Case("image, tiles, shares", "image", IMAGE, picture),
        Case("image, tiles, merged on the root", "image", IMAGE, met),
        Case("image, tiles, norm pass", "image", IMAGE, picture, options={"norm_passes": 1}),
        Case("video, whole", "video", VIDEO, None),
        Case("video, shards 2x1", "video", VIDEO, ShardPlan(h=2)),
        Case("video, shards 2x1, recompute", "video", VIDEO, ShardPlan(h=2, borders="recompute")),
        Case("video, tiles, shares", "video", VIDEO, film),
        Case("video, tiles, streamed", "video", VIDEO, film, stream=True),
        Case("video, encode, whole", "video", sample, None, "encode"),
        Case("video, encode, shards 2x1", "video", sample, ShardPlan(h=2), "encode"),
    ]


def bench_rehearsal(turns: int = 3, device: str = "cpu") -> dict[str, Any]:
    """Run the benchmark; returns plain values, ready for JSON.

    Args:
        turns: Number of profiles, each followed by runs.
        device: Type of device.
    """
    check_counts(turns=turns)
    chosen: list[Case | PipelineCase] = [*cases(), *pipeline_cases()]
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        clusters = {n: stack.enter_context(Cluster(n, device)) for n in {case.ranks for case in chosen}}
        for case in chosen:
            case.run(clusters[case.ranks])  # sends the model, and warms up
        for turn in tqdm(range(turns), unit="turn", desc="bench"):
            rows += [{"turn": turn, **_row(case, clusters[case.ranks], device)} for case in chosen]
    what = {"call": "bench rehearsal", "device": device}
    record = Record.make(demo.image_vae(), {}, plan=None, what=what)
    return {"rows": rows, "record": record.to_json()}


def _row(case: Case | PipelineCase, cluster: Cluster, device: str) -> dict[str, Any]:
    predicted = case.rehearse(cluster, device)
    runs = [case.run(cluster) for _ in range(RUNS)]
    seconds = median(_lasted(run) for run in runs)
    # A paced block sleeps for its time, and holds no tensors meanwhile.
    paced = isinstance(case, PipelineCase) and case.block is not None
    off = float("nan") if paced else max((predicted.peaks / runs[0].peaks - 1).tolist(), key=abs)
    return {
        "case": case.name,
        "ranks": case.ranks,
        "seconds, predicted": predicted.seconds,
        "seconds, measured": seconds,
        "time off": predicted.seconds / seconds - 1,
        "peak MB, predicted": float(predicted.peaks.max()) / 1e6,
        "peak MB, measured": float(runs[0].peaks.max()) / 1e6,
        "memory off": off,
        "messages equal": sent(predicted) == sent(runs[0]),
    }


def _lasted(run: Run) -> float:
    """Seconds from the first rank's beginning until the last has ended; before that, the kernel sends the call."""
    return float(run.trace["end"].max() - run.trace["start"].min())


def sent(run: Run) -> list[tuple[int, ...]]:
    """The sender, receiver and bytes of every message, in the order of each pair."""
    sends = run.trace[run.trace["kind"] == Kind.SEND.value].sort_values(["rank", "start"], kind="stable")
    rows = [tuple(map(int, row)) for row in zip(sends["rank"], sends["peer"], sends["bytes"], strict=True)]
    return sorted(rows, key=lambda row: row[:2])


def as_text(result: dict[str, Any]) -> str:
    """A result as a readable table: medians over turns, and how far single turns are off."""
    rows = pd.DataFrame(result["rows"])
    groups = rows.groupby("case", sort=False)
    table = groups[["seconds, predicted", "seconds, measured"]].median().round(3)
    off = groups["time off"]
    table["time off"] = [f"{value:+.1%}" for value in off.median()]
    table["in single turns"] = [f"{low:+.0%} to {high:+.0%}" for low, high in zip(off.min(), off.max(), strict=True)]
    table[["peak MB, predicted", "peak MB, measured"]] = (
        groups[["peak MB, predicted", "peak MB, measured"]].median().round(1)
    )
    table["memory off"] = [
        "" if pd.isna(value) else f"{value:+.1%}" for value in groups["memory off"].agg(lambda one: max(one, key=abs))
    ]
    table["messages equal"] = groups["messages equal"].all()
    return f"Predicted by rehearsals with a profile of this machine, beside runs:\n\n{table.to_string()}"


def _tiles(extent: Mapping[str, int], tile: int, overlap: int) -> TilePlan:
    grid = TileGrid.cover(extent, tile, overlap)
    return TilePlan(grid, Blend.linear(), Assignment.balanced(grid, 2))
