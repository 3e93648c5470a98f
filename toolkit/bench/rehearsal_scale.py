"""How rehearsals scale: seconds and memory of rehearsing shards, tiles and stages on more and more ranks.

Each case is rehearsed in a process of its own, so that the memory of one does not count for the next. Making the model
is left out of the time.
"""

from __future__ import annotations

import copy
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from toolkit.geometry import Assignment, Blend, Schedule, ShardPlan, StagePlan, StageSplit, TileGrid, TilePlan
from toolkit.geometry.checks import check_counts
from toolkit.geometry.plan import Plan
from toolkit.models import demo
from toolkit.models.autoencoders.full_size import SUBJECTS
from toolkit.planning.rehearsing.profile import Profile
from toolkit.planning.rehearsing.rehearse import rehearse
from toolkit.runs.record import Record

FRAME = (1, 16, 1, 270, 480)
"""The latent of one frame of 2160 x 3840."""
LAYERS, BRANCHES, STEPS = 64, 2, 2
TILE, OVERLAP = 8, 2


@dataclass(frozen=True, slots=True)
class ScaleCase:
    """One call to rehearse.

    Attributes:
        name: The mode and its size.
        work: What the ranks share.
        plan: How it is divided.
        model: Makes the model.
        shape: The shape of an autoencoder's input; None for a pipeline.
        requests: Number of a pipeline's calls in flight; 0 for an autoencoder.
    """

    name: str
    work: str
    plan: Plan
    model: Callable[[], Any]
    shape: tuple[int, ...] | None = None
    requests: int = 0

    def measure(self, device: str) -> dict[str, Any]:
        """Rehearse it in this process."""
        model = self.model()
        profile = Profile.assume(operations=1e14, bandwidth=1e12, device=device)
        before, begin = _peak_bytes(), time.perf_counter()
        rehearsal = rehearse(model, self.shape, self.plan, profile=profile, **self._call())
        seconds = time.perf_counter() - begin
        return {
            "case": self.name,
            "ranks": self.plan.ranks,
            "work": self.work,
            "messages": int(rehearsal.messages["messages"].sum()),
            "seconds of the rehearsal": seconds,
            "memory grown, MB": (_peak_bytes() - before) / 1e6,
        }

    def _call(self) -> dict[str, Any]:
        """The arguments of a pipeline's call."""
        if not self.requests:
            return {}
        given = demo.call(num_inference_steps=STEPS, output_type="latent")
        del given["generator"]
        return given | {"requests": [{"generator": torch.Generator().manual_seed(n)} for n in range(self.requests)]}


def scale_cases() -> list[ScaleCase]:
    """Three sizes of each mode, each several times larger than the one before."""
    return [
        *(shards(side) for side in (8, 16, 32)),
        *(tiles(side, ranks) for side, ranks in ((10, 8), (50, 128), (100, 512))),
        *(stages(depth, requests) for depth, requests in ((4, 2), (16, 4), (64, 16))),
    ]


def shards(side: int, shape: tuple[int, ...] = FRAME) -> ScaleCase:
    """Wan's decode on ``side`` x ``side`` shards."""
    return ScaleCase(f"shards {side}x{side}", "a frame of 4K", ShardPlan(h=side, w=side), _wan, shape)


def tiles(side: int, ranks: int) -> ScaleCase:
    """The demo model's decode in ``side`` x ``side`` tiles."""
    cells = (side - 1) * (TILE - OVERLAP) + TILE
    grid = TileGrid.cover({"h": cells, "w": cells}, TILE, OVERLAP)
    plan = TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks))
    return ScaleCase(f"tiles on {ranks}", f"{len(grid)} tiles", plan, demo.image_vae, (1, 16, cells, cells))


def stages(depth: int, requests: int, layers: int = LAYERS) -> ScaleCase:
    """A pipeline's call with a deep transformer of demo blocks."""
    schedule = Schedule.requests(depth, BRANCHES, requests=requests)
    plan = StagePlan(StageSplit.even(layers, depth), schedule)
    name, work = f"stages {depth}x{requests}", f"{layers} layers, {STEPS} steps, {requests} requests"
    return ScaleCase(name, work, plan, partial(_deep, layers), requests=requests)


def bench_rehearsal_scale(turns: int = 1, device: str = "cpu") -> dict[str, Any]:
    """Run the benchmark; returns plain values, ready for JSON.

    Args:
        turns: How often each case is rehearsed.
        device: Type of device that the ranks have; it need not exist here.
    """
    check_counts(turns=turns)
    chosen, rows = scale_cases(), []
    for case in tqdm(chosen * turns, desc="rehearsals"):
        # A new process for each: of a process that lives on, only the highest peak is known.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            rows.append(process.submit(case.measure, device).result())
    record = Record.make(demo.image_vae(), {}, plan=None, what={"call": "bench rehearsal-scale", "device": device})
    return {"rows": rows, "record": record.to_json()}


def as_text(result: dict[str, Any]) -> str:
    """A result as a readable table: medians over turns."""
    rows = pd.DataFrame(result["rows"])
    groups = rows.groupby("case", sort=False)
    table = groups[["ranks", "work", "messages"]].first()
    table["seconds of the rehearsal"] = groups["seconds of the rehearsal"].median().round(1)
    table["memory grown, MB"] = groups["memory grown, MB"].median().round(0).astype(int)
    return f"Rehearsals, each in a process of its own:\n\n{table.to_string()}"


def _wan() -> Any:
    """Wan 2.1 at real size, without weights."""
    return SUBJECTS[0].build(torch.device("meta"))


def _deep(layers: int) -> Any:
    """The demo pipeline with another number of layers."""
    pipe = demo.pipeline()
    first = pipe.transformer.blocks[0]
    pipe.transformer.blocks = nn.ModuleList(copy.deepcopy(first) for _ in range(layers))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _peak_bytes() -> int:
    """The most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux kilobytes.
    return peak if sys.platform == "darwin" else peak * 1024
