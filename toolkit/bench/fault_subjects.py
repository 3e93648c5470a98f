"""What a campaign of faults breaks: small runs of every kind, each of which has one right result."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from toolkit.cluster import Cluster
from toolkit.cluster.job import Job
from toolkit.distributed.comm.group import Member
from toolkit.geometry import Assignment, Blend, Schedule, ShardPlan, StagePlan, StageSplit, TilePlan
from toolkit.geometry.plan import Plan
from toolkit.models import demo
from toolkit.models.autoencoders.census import specimen
from toolkit.models.autoencoders.tiling import diffusers_grid
from toolkit.runs.run import Run

VAE, ROWS, COLUMNS, STEPS, ROUNDS = "AutoencoderKLWan_2.1", 15, 20, 3, 100
QUIET: dict[str, Any] = {"progress": False, "memory": False}

Fuse = Callable[..., Any]
"""Called again and again while a run computes, on every rank: as a hook, or as a callback of each step."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One kind of run.

    Attributes:
        name: What is run.
        ranks: Number of ranks.
        make: Called as ``make(cluster, fuse, **how)``; makes the run, or its job with ``block=False``. Without a fuse
            it is always the same run.
        jobs: Whether it can be a job.
        streams: Whether it hands over its output in bands.
        fuses: Whether its workers call the fuse.
    """

    name: str
    ranks: int
    make: Callable[..., Any] = field(repr=False)
    jobs: bool = True
    streams: bool = False
    fuses: bool = True

    def result(self, made: Run | Job[Run] | list[Any]) -> list[Tensor]:
        """The tensors that tell whether a run was right."""
        value = made.result() if isinstance(made, Job) else made
        output = value.output if isinstance(value, Run) else value
        return [output] if isinstance(output, Tensor) else list(output)


def subjects() -> list[Subject]:
    """Every kind of run, on 2, 3 and 4 ranks."""
    return [
        Subject("the model's own call", 2, _coded("decode", lambda: None)),
        Subject("tiles, decode", 3, _coded("decode", lambda: _tiles(3))),
        Subject("tiles, encode", 2, _coded("encode", lambda: _tiles(2))),
        Subject("tiles, streamed", 2, _streamed, jobs=False, streams=True),
        Subject("tiles, a norm pass", 2, _coded("decode", lambda: _tiles(2, "AutoencoderKL"), "AutoencoderKL", 1)),
        Subject("shards", 4, _coded("decode", lambda: ShardPlan(h=2, w=2))),
        Subject("shards, encode", 3, _coded("encode", lambda: ShardPlan(h=3))),
        Subject("shards, ring attention", 3, _coded("decode", lambda: ShardPlan(h=3, attention="ring"))),
        Subject("stages", 2, _generated(lambda: StagePlan(StageSplit.even(8, 2), Schedule.interleaved(2, 2)))),
        Subject("stages, looped", 4, _generated(lambda: StagePlan(StageSplit.even(8, 8), Schedule.looped(4, 2, 2)))),
        Subject("a function", 3, _function, jobs=False),
    ]


@cache
def _vae(name: str) -> Any:
    return specimen(name).build()


def _with(model: Any, fuse: Fuse | None) -> Any:
    """The model itself, or a copy that calls the fuse at every convolution."""
    if fuse is None:
        return model
    model = copy.deepcopy(model)
    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d | torch.nn.Conv3d):
            part.register_forward_hook(fuse)
    return model


def _input(name: str, way: str) -> Tensor:
    one = specimen(name)
    return one.latent(ROWS, COLUMNS) if way == "decode" else one.sample(ROWS, COLUMNS)


def _tiles(ranks: int, name: str = VAE) -> TilePlan:
    vae = copy.deepcopy(_vae(name))
    if hasattr(vae, "tile_sample_min_height"):
        vae.enable_tiling(64, 64, 48, 48)
    grid = diffusers_grid(vae, _input(name, "decode").shape)
    return TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks))


def _coded(
    way: str, plan: Callable[[], Plan | None], name: str = VAE, norm_passes: int = 0
) -> Callable[..., Run | Job[Run]]:
    def make(cluster: Cluster, fuse: Fuse | None = None, **how: Any) -> Run | Job[Run]:
        code = cluster.decode if way == "decode" else cluster.encode
        given = QUIET | how | ({"norm_passes": norm_passes} if norm_passes else {})
        return code(_with(_vae(name), fuse), _input(name, way), plan(), **given)

    return make


def _streamed(cluster: Cluster, fuse: Fuse | None = None, *, sink: Fuse | None = None, **how: Any) -> list[Tensor]:
    bands: list[Tensor] = []

    def take(band: Tensor, start: int) -> None:
        bands.append(band.clone())
        if sink is not None:
            sink()

    cluster.decode(_with(_vae(VAE), fuse), _input(VAE, "decode"), _tiles(2), stream=take, **QUIET, **how)
    return bands


def _generated(plan: Callable[[], StagePlan]) -> Callable[..., Run | Job[Run]]:
    def make(cluster: Cluster, fuse: Fuse | None = None, **how: Any) -> Run | Job[Run]:
        call = demo.call(num_inference_steps=STEPS, output_type="latent")
        if fuse is not None:
            call["callback_on_step_end"] = fuse
        return cluster.generate(_pipeline(), plan(), **(QUIET | how), **call)

    return make


@cache
def _pipeline() -> Any:
    pipe = demo.pipeline()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _function(cluster: Cluster, fuse: Fuse | None = None, **how: Any) -> list[Tensor]:
    return cluster.run(add_up, torch.arange(5.0), fuse, **how)


def add_up(x: Tensor, fuse: Fuse | None) -> Tensor:
    """What the function does on each rank: passes numbers around the ranks, again and again."""
    me = Member.of(None)
    total = x * (me.rank + 1)
    for _ in range(ROUNDS):
        got = torch.empty_like(total)
        around = [(total, (me.rank + 1) % me.size, True), (got, (me.rank - 1) % me.size, False)]
        for work in me.post(around):
            work.wait()
        total = total * 0.5 + got
        if fuse is not None:
            fuse(total)
    return total
