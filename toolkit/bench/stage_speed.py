"""Stages against one rank: how close a pipeline's loop comes to what its schedule promises.

``emulate``: every block takes a given time, mostly asleep, so that a machine with few cores can stand for one device
per rank. Everything else is real: an unmodified pipeline, its scheduler, messages and waits. ``compute``: the demo
pipeline as it is, with one core per rank.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from typing import Any, Literal, get_args

import pandas as pd
import torch

from toolkit.analysis.stage_times import StageTimes, stage_times
from toolkit.bench.paired import take_turns
from toolkit.cluster import Cluster
from toolkit.geometry import Schedule, StagePlan, StageSplit
from toolkit.geometry.checks import check_choice, check_counts
from toolkit.models import demo
from toolkit.models.transformers.paced import pace
from toolkit.runs.record import Record
from toolkit.runs.run import Run

Mode = Literal["emulate", "compute"]
STEPS, BLOCK = 10, 0.1
SIZES = {"emulate": (32, 32, 5), "compute": (192, 192, 33)}
"""Height, width and frames of the video: small if blocks are paced, large if they must outweigh messages."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run the pipeline.

    Attributes:
        plan: The stages.
        requests: Number of calls in flight.
        experts: Number of transformers, which share the steps equally.
    """

    plan: StagePlan
    requests: int = 1
    experts: int = 1

    def __post_init__(self) -> None:
        check_counts(requests=self.requests, experts=self.experts)

    @property
    def base(self) -> str:
        """The name of the case to compare with."""
        return ONE if self.experts == 1 else TWO

    @property
    def formula(self) -> float:
        """A request's loop relative to one rank in the long run; with experts on their own ranks, over all requests.

        Such experts work like an assembly line: R requests in turn take ``(R + E - 1) / (R E)`` of their time on one
        group.
        """
        groups = self.plan.experts
        return self.plan.ratio * (self.requests + groups - 1) / (self.requests * groups)


ONE, TWO = "1 rank", "two experts, 1 rank"


def cases(layers: int, mode: Mode = "emulate") -> dict[str, Case]:
    """The cases to measure, by name."""

    def plan(schedule: Schedule, cfg: int = 1, experts: int = 1) -> StagePlan:
        return StagePlan(StageSplit.even(layers, schedule.depth), schedule, cfg=cfg, experts=experts)

    alone = plan(Schedule.interleaved(1, branches=2))
    found = {ONE: Case(alone)}
    for ranks in (2, 4) if mode == "emulate" else (2,):
        found[f"interleaved, P={ranks}"] = Case(plan(Schedule.interleaved(ranks, branches=2)))
        found[f"looped, P={ranks}, V=2"] = Case(plan(Schedule.looped(ranks, branches=2, chunks=2)))
        requests = {2: 2, 4: 3}[ranks]
        schedule = Schedule.requests(ranks, branches=2, requests=requests)
        found[f"requests, P={ranks}, R={requests}"] = Case(plan(schedule), requests)
    found["sequential, P=2"] = Case(plan(Schedule.sequential(2, branches=2)))
    found["CFG-parallel, 2 groups"] = Case(plan(Schedule.interleaved(1, branches=1), cfg=2))
    if mode == "emulate":
        found[TWO] = Case(alone, experts=2)
        found["two experts, 1 rank each, R=3"] = Case(plan(alone.schedule, experts=2), 3, 2)
        pairs = Schedule.interleaved(2, branches=2)
        found["two experts, 2 ranks each, R=3"] = Case(plan(pairs, experts=2), 3, 2)
    return found


def bench_stages(
    turns: int = 5, device: str = "cpu", mode: Mode = "emulate", steps: int = STEPS, block: float = BLOCK
) -> dict[str, Any]:
    """Run the benchmark; returns plain values, ready for JSON.

    Args:
        turns: Number of measurements of each case.
        device: Type of device.
        mode: ``"emulate"`` for devices emulated by pacing, ``"compute"`` for the demo pipeline's real work on two
            ranks.
        steps: Number of steps in the loop.
        block: Seconds of an emulated block.
    """
    check_counts(turns=turns, steps=steps)
    check_choice("mode", mode, choices=get_args(Mode))
    pipes = _pipelines(mode, steps, block=block)
    transformer = pipes[1].transformer
    found = cases(len(transformer.blocks), mode)
    size: dict[str, Any] = dict(zip(("height", "width", "num_frames"), SIZES[mode], strict=True))
    call = demo.call(num_inference_steps=steps, output_type="latent", **size)
    last: dict[str, Run] = {}
    with Cluster(max(case.plan.ranks for case in found.values()), device) as cluster:
        contenders = {
            name: partial(_loop, _generate(cluster, pipes[case.experts], case=case, call=call), last, name)
            for name, case in found.items()
        }
        seconds = take_turns(contenders, turns)
    times = {name: stage_times(last[name], last[case.base]) for name, case in found.items()}
    what = {"call": "bench stages", "mode": mode, "steps": steps, "block s": block, "device": device}
    plans = {name: case.plan for name, case in found.items()}
    return {
        "mode": mode,
        "steps": steps,
        "block s": block if mode == "emulate" else None,
        "seconds of a request": seconds.to_dict(orient="list"),
        "over one rank": {
            name: _row(case, seconds[name] / seconds[case.base], times=times[name]) for name, case in found.items()
        },
        "where time goes": {name: one.ranks.to_dict("index") for name, one in times.items()},
        "record": Record.make(transformer, call, plan=plans, what=what).to_json(),
    }


def as_text(result: dict[str, Any]) -> str:
    """A result as readable tables."""
    emulated = f"emulated devices, {result['block s']} s per block" if result["block s"] else "real computation"
    table = pd.DataFrame.from_dict(result["over one rank"], orient="index")
    where = {
        f"{name}, rank {rank}": row for name, ranks in result["where time goes"].items() for rank, row in ranks.items()
    }
    return "\n\n".join(
        [
            f"A request's loop of {result['steps']} steps relative to one rank ({emulated}); medians of paired turns.",
            table.to_string(float_format="{:.3f}".format),
            "formula: the schedule's prediction in the long run. bound: its prediction for this many steps, with "
            "filling and draining. off: measured / formula - 1.",
            "Seconds of the last loops, by rank:",
            pd.DataFrame.from_dict(where, orient="index").to_string(float_format="{:.3f}".format),
        ]
    )


def _pipelines(mode: Mode, steps: int, *, block: float) -> dict[int, Any]:
    """Pipelines by their number of transformers."""
    one = demo.pipeline()
    one.set_progress_bar_config(disable=True)
    if mode == "compute":
        return {1: one}
    one.scheduler.set_timesteps(steps)
    middle = one.scheduler.timesteps[steps // 2 - 1 : steps // 2 + 1].float().mean()
    boundary = float(middle) / one.scheduler.config.num_train_timesteps
    parts = {**one.components, "transformer_2": copy.deepcopy(one.transformer)}
    two = type(one)(**parts, boundary_ratio=boundary)
    two.set_progress_bar_config(disable=True)
    for transformer in (two.transformer, two.transformer_2):
        pace(transformer, block)
    return {1: one, 2: two}


def _generate(cluster: Cluster, pipe: Any, *, case: Case, call: Mapping[str, Any]) -> Callable[[], Run]:
    def once() -> Run:
        seeded = [{"generator": torch.Generator().manual_seed(seed)} for seed in range(case.requests)]
        given: dict[str, Any] = {**call, **seeded[0]}
        several = seeded if case.requests > 1 else None
        return cluster.generate(pipe, case.plan, requests=several, progress=False, memory=False, **given)

    return once


def _loop(generate: Callable[[], Run], last: dict[str, Run], name: str) -> float:
    last[name] = generate()
    times = stage_times(last[name])
    return times.loop / times.requests


def _row(case: Case, ratio: pd.Series, *, times: StageTimes) -> dict[str, float]:
    each = ratio.tolist()
    low, _, high = quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
    return {
        "measured": median(each),
        "q1": low,
        "q3": high,
        "formula": case.formula,
        "bound": times.bound / times.one_rank,
        "off": median(each) / case.formula - 1,
        "utilisation": times.utilisation,
    }
