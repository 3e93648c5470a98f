"""Whole video autoencoders, decoded in several ways: time and memory of each rank.

At full size, these are real sizes with random weights in bf16, and a latent for 81 frames of 720 x 1280 pixels.
Otherwise they are the census's small models, which any machine can run.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from torch import Tensor

from toolkit.cluster import Cluster
from toolkit.errors import ToolkitError
from toolkit.geometry import Assignment, Blend, ShardPlan, TileGrid, TilePlan
from toolkit.models.autoencoders.census import specimen
from toolkit.models.autoencoders.full_size import SUBJECTS, Subject
from toolkit.runs.device import device_of_rank
from toolkit.runs.record import Record

Plan = TilePlan | ShardPlan | None


TILE, OVERLAP = 32, 8


def bench_models(turns: int = 3, device: str = "cpu", *, full: bool = False) -> dict[str, Any]:
    """Run the benchmark; returns plain values, ready for JSON.

    Args:
        turns: Number of measurements of each way, after one warm-up.
        device: Type of device; ranks share devices if there are fewer.
        full: Whether to use real sizes.
    """
    rows: list[dict[str, Any]] = []
    record = ""
    for subject in SUBJECTS:
        vae, latent = _subject(subject, device, full=full)
        for ranks in (1, 2, 4):
            with Cluster(ranks, device) as cluster:
                for mode, plan in _ways(latent, ranks, full=full):
                    rows.append({"model": subject.name, "mode": mode, "ranks": ranks})
                    rows[-1] |= _measure(cluster, vae, latent=latent, plan=plan, turns=turns)
        record = Record.make(
            vae, latent, plan=None, what={"call": "bench models", "device": device, "full": full}
        ).to_json()
    return {"rows": rows, "full": full, "turns": turns, "record": record}


def _subject(subject: Subject, device: str, *, full: bool) -> tuple[Any, Tensor]:
    if not full:
        one = specimen(subject.small)
        return one.build().bfloat16(), one.latent(20, 16, frames=3).bfloat16()
    return subject.build(device_of_rank(0, device)), subject.noise()


def _ways(latent: Tensor, ranks: int, *, full: bool) -> Iterator[tuple[str, Plan]]:
    tile, overlap = (TILE, OVERLAP) if full else (6, 2)
    grid = TileGrid.cover({"h": latent.shape[-2], "w": latent.shape[-1]}, tile, overlap)
    if ranks == 1:
        yield "whole", None
    yield ("tiles in turn" if ranks == 1 else "tiles"), TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks))
    if ranks > 1:
        yield "shards", ShardPlan(h=ranks)


def _measure(cluster: Cluster, vae: Any, *, latent: Tensor, plan: Plan, turns: int) -> dict[str, Any]:
    """Median seconds and peaks of all ranks; a failure, such as out of memory, is kept with its reason."""
    try:
        cluster.decode(vae, latent, plan, progress=False, memory=False)
        seconds = [cluster.decode(vae, latent, plan, progress=False, memory=False).seconds for _ in range(turns)]
        peaks = cluster.decode(vae, latent, plan, progress=False).peaks
    except ToolkitError as error:
        return {"seconds": None, "peak MB": None, "failed": str(error).splitlines()[0]}
    return {"seconds": median(seconds), "peak MB": [round(float(peak) / 1e6, 1) for peak in peaks], "failed": ""}


def as_text(result: dict[str, Any]) -> str:
    """The table as Markdown: seconds, speed-up over the model's own call, and each rank's peak above its weights."""
    heads = ("model", "mode", "ranks", "seconds", "speed-up over whole", "peak of each rank, MB")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    whole = {row["model"]: row["seconds"] for row in result["rows"] if row["mode"] == "whole"}
    for row in result["rows"]:
        cells = [row["model"], row["mode"], str(row["ranks"])]
        if row["failed"]:
            cells += ["-", "-", row["failed"]]
        else:
            gain = f"{whole[row['model']] / row['seconds']:.2f}" if whole[row["model"]] else "-"
            cells += [f"{row['seconds']:.2f}", gain, ", ".join(f"{peak:.0f}" for peak in row["peak MB"])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
