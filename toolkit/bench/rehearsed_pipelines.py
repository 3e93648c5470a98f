"""Pipelines' calls that are both rehearsed and run: with real work on two ranks, and with paced blocks on four.

A paced block takes a given time, mostly asleep, so that four ranks on two cores are as quick as four devices. Its
rehearsal is one of devices on which a block takes that long: in the profile, the self-attention of a block makes up
what the other operators of a block do not take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any

import torch

from toolkit.cluster import Cluster
from toolkit.geometry import Schedule, ShardPlan, StagePlan, StageSplit
from toolkit.geometry.plan import or_whole
from toolkit.models import demo
from toolkit.models.transformers.paced import pace
from toolkit.planning.rehearsing.profile import Profile
from toolkit.planning.rehearsing.profiling import profile
from toolkit.planning.rehearsing.rehearsal import Rehearsal
from toolkit.planning.rehearsing.rehearse import rehearse
from toolkit.planning.rehearsing.script import Compute
from toolkit.runs.run import Run

STEPS, LAYERS = 3, 8
ATTENTION = "scaled_dot_product"


@dataclass(frozen=True, slots=True)
class PipelineCase:
    """One call of the demo pipeline, both rehearsed and run.

    Attributes:
        name: The call in words.
        plan: Its stages; None: the pipeline's own call.
        requests: Number of calls in flight.
        block: Seconds that a block takes; None: as long as its work.
        arguments: Of the call, in addition to those of ``demo.call``.
    """

    name: str
    plan: StagePlan | None
    requests: int = 1
    block: float | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ranks(self) -> int:
        """Number of ranks that it takes."""
        return or_whole(self.plan).ranks

    @property
    def call(self) -> dict[str, Any]:
        """The arguments of the call, with new generators."""
        given = demo.call(num_inference_steps=STEPS, **{"output_type": "latent", **self.arguments})
        if self.requests > 1:
            del given["generator"]
            given["requests"] = [{"generator": torch.Generator().manual_seed(seed)} for seed in range(self.requests)]
        return given

    def run(self, cluster: Cluster) -> Run:
        """Run it."""
        return cluster.generate(_pipeline(self.block), self.plan, progress=False, **self.call)

    def rehearse(self, cluster: Cluster, device: str) -> Rehearsal:
        """Make a profile on the cluster's ranks, and rehearse with it."""
        pipe = _pipeline(None)
        measured = profile(pipe, plan=self.plan, device=device, cluster=cluster, **self.call)
        rehearsal = rehearse(pipe, plan=self.plan, profile=measured, **self.call)
        if self.block is None:
            return rehearsal
        whole = replace(self, plan=None, requests=1)
        return rehearsal.with_profile(_paced(measured, rehearse(pipe, profile=measured, **whole.call), self.block))


def pipeline_cases() -> list[PipelineCase]:
    """Every schedule on two ranks with real work, and on four with paced blocks."""
    large = {"height": 192, "width": 192, "num_frames": 33}
    two, four = _plans(2), _plans(4)
    decoded = {"height": 128, "width": 128, "num_frames": 9, "output_type": "np"}
    shared = replace(two["interleaved"], vae=ShardPlan(h=2), encoders=1)
    return [
        PipelineCase("pipeline, whole", None, arguments=large),
        *(PipelineCase(f"pipeline, {name}", plan, _requests(plan), None, large) for name, plan in two.items()),
        PipelineCase("pipeline, interleaved, decoded on shards", shared, arguments=decoded),
        *(PipelineCase(f"paced, {name}, P=4", plan, _requests(plan), 0.05) for name, plan in four.items()),
    ]


def _plans(ranks: int) -> dict[str, StagePlan]:
    def plan(schedule: Schedule, cfg: int = 1) -> StagePlan:
        return StagePlan(StageSplit.even(LAYERS, schedule.depth), schedule, cfg=cfg)

    return {
        "sequential": plan(Schedule.sequential(ranks, branches=2)),
        "interleaved": plan(Schedule.interleaved(ranks, branches=2)),
        "looped": plan(Schedule.looped(ranks, branches=2, chunks=2)),
        "requests": plan(Schedule.requests(ranks, branches=2, requests=2)),
        "cfg": plan(Schedule.interleaved(ranks // 2, branches=1), cfg=2),
    }


def _requests(plan: StagePlan) -> int:
    return plan.schedule.in_flight


@cache
def _pipeline(block: float | None) -> Any:
    """The demo pipeline, paced or not: the same one for all cases, so that it is sent to the workers once."""
    pipe = demo.pipeline()
    pipe.set_progress_bar_config(disable=True)
    if block is not None:
        pace(pipe.transformer, block)
    return pipe


def _paced(measured: Profile, whole: Rehearsal, block: float) -> Profile:
    """The profile of devices on which each block takes ``block`` seconds.

    Args:
        measured: What operators cost here.
        whole: A rehearsal of the pipeline's own call with it.
        block: Seconds of a block.
    """
    steps = [step for step in whole.scripts[0].steps if isinstance(step, Compute)]
    # Only blocks attend. Of their two kinds of attention, the one to the video itself takes longer.
    attention = max((step.key for step in steps if ATTENTION in step.key), key=lambda key: measured.operators[key])
    places = [place for place, step in enumerate(steps) if step.key == attention]
    # From one block's attention to the next one's: the work of a block. Between two calls lies more.
    between = [sum(measured.operators[step.key].seconds for step in steps[a:b]) for a, b in pairwise(places)]
    own = measured.operators[attention]
    paced = own._replace(seconds=own.seconds + block - median(between))
    # Who sleeps leaves the processor to others: these ranks have a device each, however many share a processor.
    crowds = {count: crowd._replace(slowness=1.0) for count, crowd in measured.crowds.items()}
    return replace(measured, operators={**measured.operators, attention: paced}, crowds=crowds)
