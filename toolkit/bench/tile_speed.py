"""Tiles on two ranks against the alternatives on the same machine.

The contenders decode the demo video: our plan on two ranks and on one, diffusers' own tiled decode on one of our
workers, and one process with two threads, tiled or untiled: as it is, and with the settings of our workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pandas as pd
from torch import Tensor

from toolkit.bench.paired import ratios, take_turns
from toolkit.cluster import Cluster
from toolkit.geometry import Assignment, Blend, TileGrid, TilePlan
from toolkit.models import demo
from toolkit.runs.record import Record
from toolkit.runs.run import Run

TILE, OVERLAP = 18, 4
US = "2 ranks, 1 thread each"


def bench_tiles(turns: int = 5, device: str = "cpu") -> dict[str, Any]:
    """Run the benchmark; returns plain values, ready for JSON.

    Args:
        turns: Number of measurements of each contender.
        device: Type of device.
    """
    vae, latent = demo.video_vae(), demo.latents("video")
    grid = TileGrid.cover({"h": latent.shape[-2], "w": latent.shape[-1]}, TILE, OVERLAP)
    plans = {n: TilePlan(grid, Blend.linear(), Assignment.balanced(grid, n)) for n in (1, 2)}
    with ExitStack() as stack:
        ours = {n: stack.enter_context(Cluster(n, device)) for n in (1, 2)}
        plain = stack.enter_context(Cluster(1, device, threads=2, convolutions="aten", keep_memory=False))
        tuned = stack.enter_context(Cluster(1, device, threads=2))
        runs: list[Run] = []
        contenders = {
            US: _decode(ours[2], vae, latent=latent, plan=plans[2], runs=runs),
            "1 rank, 1 thread, same plan": _decode(ours[1], vae, latent=latent, plan=plans[1]),
            "vae.tiled_decode, 1 thread, our worker": _decode(ours[1], _tiled(), latent=latent, plan=None),
            "vae.tiled_decode, 2 threads, our worker": _decode(tuned, _tiled(), latent=latent, plan=None),
            "vae.decode untiled, 2 threads, our worker": _decode(tuned, vae, latent=latent, plan=None),
            "vae.tiled_decode, plain process, 2 threads": _decode(plain, _tiled(), latent=latent, plan=None),
            "vae.decode untiled, plain process, 2 threads": _decode(plain, vae, latent=latent, plan=None),
        }
        seconds = take_turns(contenders, turns)
    table = ratios(seconds, US)
    most = max(plans[2].assignment.counts)
    return {
        "plan": repr(plans[2]),
        "latent": list(latent.shape),
        "seconds": seconds.to_dict(orient="list"),
        "times faster": table.to_dict(orient="index"),
        "tiles over most tiles on a rank": len(grid) / most,
        "where time goes": _shares_of_time(runs[-1]).to_dict(orient="index"),
        "planning 2000 tiles over 64 ranks, ms": _planning_ms(),
        "record": Record.make(vae, latent, plan=plans[2], what={"call": "bench tiles", "device": device}).to_json(),
    }


def as_text(result: dict[str, Any]) -> str:
    """A result as a readable table."""
    table = pd.DataFrame.from_dict(result["times faster"], orient="index").round(2)
    ours = pd.Series(result["seconds"][US]).median()
    where = pd.DataFrame.from_dict(result["where time goes"], orient="index").round(3)
    return "\n\n".join(
        [
            f"{result['plan']} of a latent {'x'.join(map(str, result['latent']))}",
            f"{US}: {ours:.2f} s (median). Against:",
            table.to_string(),
            f"Largest possible speed-up of 2 ranks over 1: {result['tiles over most tiles on a rank']:.2f}.",
            "Seconds of the last run, by rank:",
            where.to_string(),
            f"Planning 2000 tiles over 64 ranks: {result['planning 2000 tiles over 64 ranks, ms']:.0f} ms",
        ]
    )


def _tiled() -> Any:
    """The demo model with its own tiling on, at the benchmark's tile and overlap."""
    vae: Any = demo.video_vae()
    vae.enable_tiling(TILE * 8, TILE * 8, (TILE - OVERLAP) * 8, (TILE - OVERLAP) * 8)
    return vae


def _decode(
    cluster: Cluster, vae: Any, *, latent: Tensor, plan: TilePlan | None, runs: list[Run] | None = None
) -> Callable[[], float]:
    def once() -> float:
        run = cluster.decode(vae, latent, plan, progress=False, memory=False)
        if runs is not None:
            runs.append(run)
        return run.seconds

    return once


def _shares_of_time(run: Run) -> pd.DataFrame:
    """Seconds of each kind of event by rank, and idle seconds."""
    spent = (run.trace["end"] - run.trace["start"]).groupby([run.trace["rank"], run.trace["kind"]]).sum().unstack()
    spent = spent.fillna(0.0)
    spent["idle"] = run.seconds - spent.sum(axis=1)
    spent.index = [f"rank {rank}" for rank in spent.index]
    return spent


def _planning_ms() -> float:
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        grid = TileGrid.cover({"h": 40 * 24 + 8, "w": 50 * 24 + 8}, tile=32, overlap=8)
        plan = TilePlan(grid, Blend.linear(), Assignment.balanced(grid, 64))
        plan.peaks(cell_bytes=768)
        times.append((time.perf_counter() - begin) * 1e3)
    return min(times)
