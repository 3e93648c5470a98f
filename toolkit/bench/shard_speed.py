"""Exact shards on two ranks against one rank, against tiles, and against one process with two threads.

All contenders decode the same latent with the demo video model. The result also has the error of exact modes against
the model's own call. At full size, the model is as wide as real ones, so computation outweighs communication and halos
matter less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from toolkit.bench.interception import interception
from toolkit.bench.paired import ratios, take_turns
from toolkit.cluster import Cluster
from toolkit.geometry import Assignment, Blend, ShardPlan, TileGrid, TilePlan
from toolkit.models import demo
from toolkit.models.autoencoders.full_size import SUBJECTS
from toolkit.runs.record import Record
from toolkit.runs.run import Run

US, ONE = "shards, 2 ranks", "shards, 1 rank"
PAIR = {US: ShardPlan(h=2), ONE: ShardPlan()}
TILE, OVERLAP, WIDE = 18, 4, 80
MOVES = ("wait", "send", "receive")
PLAIN = "vae.decode, plain process, 2 threads"
TUNED = "vae.decode, 2 threads, our worker"
"""A rival with all that helps our workers: on cores that share memory it may beat two ranks."""


def bench_shards(turns: int = 5, device: str = "cpu", *, full: bool = False) -> dict[str, Any]:
    """Run the benchmark; returns plain values, ready for JSON.

    Args:
        turns: Number of measurements of each contender.
        device: Type of device.
        full: Whether to use a model of real width and only the plain comparisons; a turn takes minutes on a CPU, and
            some 13 GB.
    """
    if full:
        return _real_width(turns, device)
    vae, latent = demo.video_vae(), _four_videos()
    with ExitStack() as stack:
        ours = {n: stack.enter_context(Cluster(n, device)) for n in (1, 2)}
        plain = stack.enter_context(Cluster(1, device, threads=2, convolutions="aten", keep_memory=False))
        tuned = stack.enter_context(Cluster(1, device, threads=2))
        plans = _plans(latent)
        contenders = {name: _decode(ours[plan.ranks], vae, latent=latent, plan=plan) for name, plan in plans.items()}
        contenders["vae.decode, 1 thread, our worker"] = _decode(ours[1], vae, latent=latent, plan=None)
        contenders[TUNED] = _decode(tuned, vae, latent=latent, plan=None)
        contenders[PLAIN] = _decode(plain, vae, latent=latent, plan=None)
        seconds = take_turns(contenders, turns)
        picture = _one_picture()
        alike = {name: _decode(ours[plans[name].ranks], vae, latent=picture, plan=plans[name]) for name in (US, ONE)}
        alike["vae.decode, 1 thread, our worker"] = _decode(ours[1], vae, latent=picture, plan=None)
        large = take_turns(alike, turns)
        bare = {n: stack.enter_context(Cluster(n, device, convolutions="aten", keep_memory=False)) for n in (1, 2)}
        untuned = {name: _decode(bare[plans[name].ranks], vae, latent=latent, plan=plans[name]) for name in (US, ONE)}
        untuned["vae.decode, plain process, 1 thread"] = _decode(bare[1], vae, latent=latent, plan=None)
        unhelped = take_turns(untuned, turns)
        own = ours[1].decode(vae, latent, None, progress=False)
        runs = {name: ours[plan.ranks].decode(vae, latent, plan, progress=False) for name, plan in plans.items()}
    return {
        "latent": list(latent.shape),
        "seconds": seconds.to_dict(orient="list"),
        "times faster": ratios(seconds, US).to_dict(orient="index"),
        "one large picture": {
            "latent": list(picture.shape),
            "seconds": large.to_dict(orient="list"),
            "times faster": ratios(large, US).to_dict(orient="index"),
        },
        "torch's own kernels and allocator": {
            "seconds": unhelped.to_dict(orient="list"),
            "times faster": ratios(unhelped, US).to_dict(orient="index"),
        },
        "one run of each": {name: _facts(run, own) for name, run in runs.items()} | {"vae.decode": _facts(own, own)},
        "interception": interception(),
        "record": Record.make(vae, latent, plan=plans[US], what={"call": "bench shards", "device": device}).to_json(),
    }


def _real_width(turns: int, device: str) -> dict[str, Any]:
    """One frame of 640 x 640 pixels by Wan 2.1's autoencoder, with random weights."""
    subject = SUBJECTS[0]
    vae = subject.build(torch.device("cpu"), torch.float32)
    latent = torch.randn(1, subject.latent[0], 1, WIDE, WIDE, generator=torch.Generator().manual_seed(0))
    with ExitStack() as stack:
        ours = {n: stack.enter_context(Cluster(n, device)) for n in (1, 2)}
        plain = stack.enter_context(Cluster(1, device, threads=2, convolutions="aten", keep_memory=False))
        tuned = stack.enter_context(Cluster(1, device, threads=2))
        contenders = {name: _decode(ours[plan.ranks], vae, latent=latent, plan=plan) for name, plan in PAIR.items()}
        contenders[TUNED] = _decode(tuned, vae, latent=latent, plan=None)
        contenders[PLAIN] = _decode(plain, vae, latent=latent, plan=None)
        seconds = take_turns(contenders, turns)
        own = plain.decode(vae, latent, None, progress=False)
        runs = {name: ours[plan.ranks].decode(vae, latent, plan, progress=False) for name, plan in PAIR.items()}
    return {
        "model": f"{subject.name}, {sum(weight.numel() for weight in vae.parameters()) / 1e6:.0f} M weights",
        "latent": list(latent.shape),
        "seconds": seconds.to_dict(orient="list"),
        "times faster": ratios(seconds, US).to_dict(orient="index"),
        "one run of each": {name: _facts(run, own) for name, run in runs.items()},
        "record": Record.make(
            vae, latent, plan=PAIR[US], what={"call": "bench shards --full", "device": device}
        ).to_json(),
    }


def _four_videos() -> Tensor:
    """The first frames of the demo video's latent, four times as large: seconds of work for every rank."""
    one = demo.latents("video")[:, :, :2]
    return torch.cat([torch.cat([one, one.flip(-1)], -1)] * 2, -2)


def _one_picture() -> Tensor:
    """The first frame of the demo video's latent, sixteen times as large: maps too large for any cache."""
    one = demo.latents("video")[:, :, :1]
    return torch.cat([torch.cat([one, one.flip(-1)] * 2, -1)] * 4, -2)


def _plans(latent: Tensor) -> dict[str, ShardPlan | TilePlan]:
    grid = TileGrid.cover({"h": latent.shape[-2], "w": latent.shape[-1]}, TILE, OVERLAP)
    return {
        **PAIR,
        "shards, 2 ranks, ring attention": ShardPlan(h=2, attention="ring"),
        "shards, 2 ranks, no messages": ShardPlan(h=2, borders="recompute"),
        "tiles, 2 ranks": TilePlan(grid, Blend.linear(), Assignment.balanced(grid, 2)),
    }


def as_text(result: dict[str, Any]) -> str:
    """A result as readable tables."""
    parts = [
        f"{result.get('model', 'The demo video model')}, one thread per rank unless stated otherwise",
        _against(f"Latent {_size(result)}", result),
    ]
    if "one large picture" in result:
        large = result["one large picture"]
        parts.append(_against(f"Latent {_size(large)}", large))
        parts.append(_against("With torch's own kernels and allocator", result["torch's own kernels and allocator"]))
    facts = pd.DataFrame.from_dict(result["one run of each"], orient="index")
    parts.append(facts.to_string(float_format=lambda value: f"{value:.3g}"))
    if "interception" in result:
        cost = result["interception"]
        parts.append(
            f"Interception: {cost['us per call']:.1f} us per torch call, over {cost['torch calls']:.0f} calls; "
            f"a mode that does nothing: {cost['us per call, a mode that does nothing']:.1f} us"
        )
    return "\n\n".join(parts)


def _size(result: Mapping[str, Any]) -> str:
    return "x".join(map(str, result["latent"]))


def _against(title: str, result: Mapping[str, Any]) -> str:
    """The median of two ranks, and how many times faster they are than the others."""
    table = pd.DataFrame.from_dict(result["times faster"], orient="index").round(2)
    seconds = pd.Series(result["seconds"][US]).median()
    return f"{title}: {US} {seconds:.2f} s (median). Against:\n\n{table.to_string()}"


def _decode(cluster: Cluster, vae: Any, *, latent: Tensor, plan: ShardPlan | TilePlan | None) -> Callable[[], float]:
    return lambda: cluster.decode(vae, latent, plan, progress=False, memory=False).seconds


def _facts(run: Run, own: Run) -> dict[str, float]:
    """Error against the model's own call; exposed communication, bytes and peaks of the worst rank."""
    spent = (run.trace["end"] - run.trace["start"]).groupby([run.trace["rank"], run.trace["kind"]]).sum().unstack()
    moving = spent.reindex(columns=MOVES).fillna(0.0).sum(axis=1)
    sent = run.trace[run.trace["kind"] == "send"].groupby("rank")["bytes"].sum()
    error = (run.output - own.output).abs().max() / own.output.abs().max()
    return {
        "relative error": float(error),
        "communication, share of time": float(moving.max() / run.seconds),
        "messages": float((run.trace["kind"] == "send").sum()),
        "sent MB": float(sent.max() / 1e6) if len(sent) else 0.0,
        "peak MB, rank 0": float(run.peaks.iloc[0] / 1e6),
        "peak MB, last rank": float(run.peaks.iloc[-1] / 1e6),
    }
