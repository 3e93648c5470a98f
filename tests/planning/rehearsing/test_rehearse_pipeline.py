"""Rehearsals of pipelines beside runs: the same messages and stages, the same memory."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from support.pipelines import PIPELINES
from support.staged import QUIET, plans

import toolkit as tk
from toolkit.bench.rehearsal_accuracy import sent
from toolkit.errors import ModelError
from toolkit.planning.rehearsing import stopwatch
from toolkit.planning.rehearsing.profiling import profile
from toolkit.planning.rehearsing.rehearse import rehearse

# Some make one call per step, and are tried under the same schedules as those that make two.
pytestmark = pytest.mark.filterwarnings("ignore:.* called its transformer once per step")

Schedule = tk.Schedule
TWO = Schedule.interleaved(2, branches=2)
GRID = tk.TileGrid.cover({"h": 8, "w": 8}, 6, 2)
TILES = tk.TilePlan(GRID, tk.Blend.linear(), tk.Assignment.balanced(GRID, 2))
SMALL = {"num_frames": 1, "num_inference_steps": 2, "height": 16, "width": 16, "output_type": "latent"}
ONCE = {"num_inference_steps": 1}
UNGUIDED = {"guidance_scale": 1.0}


class Case(NamedTuple):
    """A way to call the demo pipeline."""

    schedule: tk.Schedule | None
    plan: dict[str, Any] = {}
    call: dict[str, Any] = {}
    requests: int = 0
    experts: int = 1


CASES = {
    "whole": Case(None, call={"output_type": "np"}),
    "interleaved": Case(Schedule.interleaved(3, 2), call={"output_type": "pil"}),
    "five ranks": Case(Schedule.interleaved(5, 1), call=UNGUIDED),
    "one rank": Case(Schedule.interleaved(1, 2), call=ONCE),
    "sequential": Case(Schedule.sequential(2, 2), {"encoders": 1}),
    "looped": Case(Schedule.looped(2, 2, chunks=2)),
    "requests": Case(Schedule.requests(2, 2, requests=2), requests=2),
    "more than in flight": Case(Schedule.requests(2, 1, requests=2, chunks=2), call=UNGUIDED, requests=3),
    "a single request": Case(Schedule.requests(2, 2, requests=2), call=ONCE, requests=1),
    "branches apart": Case(Schedule.interleaved(2, 1), {"cfg": 2}),
    "shards": Case(TWO, {"vae": tk.ShardPlan(h=2, root=1)}, {"output_type": "pt", "height": 32, **ONCE}),
    "tiles": Case(TWO, {"vae": TILES}, {"output_type": "np", "height": 64, "width": 64, **ONCE}),
    "experts": Case(Schedule.requests(1, 2, 1), {"experts": 2}, requests=2, experts=2),
    "experts together": Case(TWO, experts=2),
}


@pytest.fixture(scope="module")
def whole():
    pipe = tk.demo.pipeline()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def demo(whole: Any, schedule: tk.Schedule | None = TWO, experts: int = 1) -> Any:
    """The demo pipeline with as few layers as there are stages; or with two transformers, each for one of two steps."""
    parts, boundary = dict(whole.components), None
    for name in ("transformer", "transformer_2")[:experts]:
        parts[name] = copy.deepcopy(whole.transformer)
        parts[name].blocks = parts[name].blocks[: schedule.depth if schedule else 2]
    if experts > 1:
        timing = copy.deepcopy(whole.scheduler)
        timing.set_timesteps(2)
        boundary = float(timing.timesteps.float().mean()) / timing.config.num_train_timesteps
    pipe = type(whole)(**parts, boundary_ratio=boundary)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def steps(run: tk.Run) -> Counter:
    """What each rank computes, sends and takes."""
    rows = run.trace[run.trace["kind"].isin(["stage", "whole", "send", "receive"])]
    return Counter(zip(rows["rank"], rows["kind"], rows["label"], strict=True))


def check_alike(rehearsal: tk.Run, run: tk.Run) -> None:
    assert sent(rehearsal) == sent(run)
    assert steps(rehearsal) == steps(run) != Counter()
    assert rehearsal.shape == run.shape


def arguments(case: Case) -> dict[str, Any]:
    call = tk.demo.call(**SMALL | case.call)
    seeded = [{"generator": torch.Generator().manual_seed(seed)} for seed in range(case.requests)]
    return {**call, "requests": seeded} if seeded else call


@pytest.mark.parametrize("name", CASES)
def test_a_rehearsal_sends_and_computes_what_a_run_does(cluster, whole, name):
    case = CASES[name]
    pipe = demo(whole, case.schedule, case.experts)
    plan = case.schedule and plans(pipe, case.schedule, **case.plan)
    run = cluster.generate(pipe, plan, **QUIET, **arguments(case))
    check_alike(rehearse(pipe, plan=plan, **arguments(case)), run)
    assert (plan is None or plan["transformer"].ranks == 1) == (sent(run) == [])


@pytest.mark.parametrize("name", PIPELINES)
def test_so_it_does_for_every_pipeline(cluster, name):
    tiny = PIPELINES[name]
    pipe = tiny.build()
    # Two experts need two steps; schedulers that stretch their sigmas to an end divide by zero with one.
    few = {"num_inference_steps": 2 if name in ("wan_a14b", "wan_i2v_a14b", "qwen_image", "ltx") else 1}
    plan = plans(pipe, TWO)
    run = cluster.generate(pipe, plan, **QUIET, **tiny.call(1, **few))
    check_alike(rehearse(pipe, plan=plan, **tiny.call(1, **few)), run)


def masking() -> Any:
    """A callback that holds a tensor, and asks for a number that does not depend on data."""
    mask = torch.arange(4.0).view(1, 1, 1, 2, 2)
    return lambda pipe, i, t, kwargs: {"latents": kwargs["latents"] * (mask if t > 0 else 1)}


def stopping() -> Any:
    def stop(pipe, i, t, kwargs):
        pipe._interrupt = True
        return kwargs

    return stop


@pytest.mark.parametrize(
    "more",
    [
        {"callback_on_step_end": masking(), "num_videos_per_prompt": 2, "generator": [torch.Generator()] * 2, **ONCE},
        {"callback_on_step_end": stopping()},
        {"latents": torch.zeros(1, 16, 1, 2, 2), "generator": None, "guidance_scale": 1.0},
        {"prompt": list(tk.demo.PROMPTS[:2]), **ONCE},
    ],
    ids=["callback, generators", "stopped", "latents, one branch", "two prompts"],
)
def test_so_it_does_for_other_arguments(cluster, whole, more):
    pipe = demo(whole)
    plan, call = plans(pipe, TWO), tk.demo.call(**SMALL | more)
    run = cluster.generate(pipe, plan, **QUIET, **call)
    check_alike(rehearse(pipe, plan=plan, **call), run)


def test_a_callback_that_branches_on_data_is_refused(whole):
    def branches(pipe, i, t, kwargs):
        return {"latents": kwargs["latents"] * (2 if kwargs["latents"].mean() > 0 else 1)}

    pipe, call = demo(whole), tk.demo.call(**SMALL | ONCE, callback_on_step_end=branches)
    for plan in (None, plans(pipe, TWO)):
        with pytest.raises(ModelError, match="what the model does next depends on data"):
            rehearse(pipe, plan=plan, **call)


def test_an_accelerator_need_not_exist(whole):
    pipe, call = demo(whole), tk.demo.call(**SMALL | ONCE)
    plan = plans(pipe, TWO)
    there, here = (rehearse(pipe, plan=plan, device=device, **call) for device in ("cuda", "cpu"))
    assert sent(there) == sent(here)
    assert (there.record.what["device"], here.record.what["device"]) == ("cuda", "cpu")


def test_memory_with_a_profile_is_that_of_a_run(cluster, whole, monkeypatch):
    monkeypatch.setattr(stopwatch, "ENOUGH", 0.0)  # times do not matter here: a few of each operator
    call = {"height": 64, "width": 64, "num_frames": 13, "num_inference_steps": 2, "output_type": "latent"}
    pipe = demo(whole)
    two = plans(pipe, TWO)
    measured = profile(pipe, plan=[None, two], device="cpu", **tk.demo.call(**call))
    for plan in (None, two):
        # Workers prove the class in their first call.
        cluster.generate(pipe, plan, progress=False, **tk.demo.call(**call))
        rehearsal = rehearse(pipe, plan=plan, profile=measured, **tk.demo.call(**call))
        assert rehearsal.estimated == 0 < rehearsal.seconds
        # Runs scatter: on a busy machine what a rank has sent leaves later, while the other branch is computed.
        far = pd.Series(1.0, index=rehearsal.peaks.index)
        for _ in range(20):
            run = cluster.generate(pipe, plan, progress=False, **tk.demo.call(**call))
            assert rehearsal.peaks.index.tolist() == run.peaks.index.tolist()
            far = np.minimum(far, (run.peaks / rehearsal.peaks - 1).abs())
            if (far < 0.01).all():
                break
        assert (far < 0.01).all(), far
