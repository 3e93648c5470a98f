"""What it costs to notice that a model has changed: a checksum of all its bytes before every call."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import pandas as pd
import torch
from torch import nn

from toolkit.cluster import Cluster
from toolkit.cluster.engines.shelf import Identify, Shelf
from toolkit.geometry.checks import check_counts
from toolkit.models import demo
from toolkit.models.autoencoders.full_size import SUBJECTS
from toolkit.runs.record import Record

GIGABYTES = 2
"""Size of the pipeline's weights, in single precision."""


def bench_identification(turns: int = 5, device: str = "cpu") -> dict[str, Any]:
    """Time how long an unchanged model takes to be recognised, beside a call of it; plain values, ready for JSON.

    Args:
        turns: Number of measurements; each is a median over them.
        device: Type of device of the calls. Weights lie in the notebook's memory.
    """
    check_counts(turns=turns)
    wan = SUBJECTS[0]
    latent, small = torch.randn(1, 16, 1, 20, 20), demo.latents("image")
    rows = []
    with Cluster(1, device) as one:
        for name, model, x in (
            ("demo autoencoder", demo.image_vae(), small),
            (f"{wan.name}, 160 x 160 pixels", wan.build(torch.device("cpu")).float(), latent),
            (f"layers of {GIGABYTES} GB", _layers(), None),
        ):
            seconds = _call(one, model, x, turns) if x is not None else float("nan")
            rows.append(
                {
                    "model": name,
                    "MB": sum(weight.nbytes for weight in model.parameters()) / 1e6,
                    "contents, ms": 1e3 * _recognise(model, "contents", turns),
                    "versions, ms": 1e3 * _recognise(model, "versions", turns),
                    "its call, ms": 1e3 * seconds,
                }
            )
    record = Record.make(demo.image_vae(), {}, plan=None, what={"call": "bench identification", "device": device})
    return {"rows": rows, "record": record.to_json()}


def as_text(result: dict[str, Any]) -> str:
    """A result as a readable table."""
    table = pd.DataFrame(result["rows"]).set_index("model")
    table["contents, share of a call"] = table["contents, ms"] / table["its call, ms"]
    return f"To recognise a model that has not changed:\n\n{table.round(4).to_string()}"


def _recognise(model: nn.Module, identify: Identify, turns: int) -> float:
    """Seconds until a model is known to be the one that was sent."""
    shelf, seconds = Shelf(identify), []
    shelf.refer(model, lambda key, parcel: None)
    for _ in range(turns):
        begin = time.perf_counter()
        shelf.refer(model, _never)
        seconds.append(time.perf_counter() - begin)
    return median(seconds)


def _never(key: int, parcel: object) -> None:
    raise AssertionError("the model has not changed")


def _call(cluster: Cluster, vae: Any, latent: torch.Tensor, turns: int) -> float:
    runs = [cluster.decode(vae, latent, progress=False, memory=False).seconds for _ in range(turns + 1)]
    return median(runs[1:])


def _layers() -> nn.Module:
    """As many weights as a transformer of 2 GB: 32 layers of 16 M."""
    return nn.Sequential(*(nn.Linear(4096, 4096, bias=False) for _ in range(GIGABYTES * 10**9 // (4 * 4096**2) + 1)))
