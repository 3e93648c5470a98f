"""What goes wrong in stages: different noise, a rank that raises, inputs written to, pipelines that do not fit."""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch
import torch.distributed as dist
from diffusers import FirstBlockCacheConfig
from support.pipelines import PIPELINES
from support.staged import QUIET, plans

import toolkit as tk
from toolkit.models.transformers.transformer_census import transformer

TWO = tk.StagePlan(tk.StageSplit.even(4, 2), tk.Schedule.interleaved(2, branches=2))


@pytest.fixture(scope="module")
def two():
    with tk.Cluster(ranks=2, device="cpu", start="forkserver") as cluster:
        cluster.run(os.getpid)
        yield cluster


def usable(cluster: tk.Cluster) -> bool:
    tiny = PIPELINES["wan"]
    pipe = tiny.build()
    run = cluster.generate(pipe, plans(pipe, tk.Schedule.interleaved(2, 2)), **QUIET, **tiny.call())
    return torch.equal(run.output, tiny.run(pipe))


@pytest.mark.parametrize("what", ["hidden_states", "encoder_hidden_states", "timestep", "shape"])
def test_ranks_that_were_given_different_inputs(two, what):
    specimen = transformer("Wan")

    def job() -> None:
        with torch.no_grad():
            staged = tk.distributed.stage(TWO, specimen.build())
            rank = dist.get_rank()
            inputs = specimen.inputs(scale=1 + (rank if what == "shape" else 0))
            if what != "shape":
                inputs[what] = inputs[what] + rank
            (output,) = staged(**inputs)
            output + 0

    begin = time.monotonic()
    with pytest.raises(tk.RankFailed, match="gave a model different inputs"):
        two.run(job)
    assert time.monotonic() - begin < 15
    assert usable(two)


def test_different_seeds_on_ranks(two):
    tiny = PIPELINES["wan"]

    def job() -> None:
        pipe = tiny.build()
        plan = tk.StagePlan(tk.StageSplit.even(6, 2), tk.Schedule.interleaved(2, 2))
        tk.distributed.generate(pipe, plan, **tiny.call(seed=dist.get_rank()))

    with pytest.raises(tk.RankFailed, match="the same seed or generator"):
        two.run(job)
    assert usable(two)


@pytest.mark.parametrize("culprit", [0, 1])
def test_a_rank_that_raises_in_the_middle_of_the_loop(two, culprit):
    tiny = PIPELINES["wan"]
    pipe = tiny.build()

    def step(pipe, i, t, kwargs):
        if i == 3 and dist.get_rank() == culprit:
            raise KeyError("in step three")
        return kwargs

    begin = time.monotonic()
    with pytest.raises(tk.RankFailed, match="in step three") as caught:
        two.generate(pipe, plans(pipe, tk.Schedule.looped(2, 2, 2)), **QUIET, **tiny.call(callback_on_step_end=step))
    assert time.monotonic() - begin < 5
    assert caught.value.rank == culprit
    assert (caught.value.trace["kind"] == "stage").any()
    assert usable(two)


def test_a_request_that_raises_ends_all(two):
    tiny = PIPELINES["wan"]
    pipe = tiny.build()

    def step(pipe, i, t, kwargs):
        if i == 2 and dist.get_rank() == 1:
            raise KeyError("in one request")
        return kwargs

    requests = [tiny.call(0), {**tiny.call(1), "callback_on_step_end": step}]
    begin = time.monotonic()
    with pytest.raises(tk.RankFailed, match="in one request"):
        two.generate(pipe, plans(pipe, tk.Schedule.requests(2, 2, 2)), requests=requests, **QUIET)
    assert time.monotonic() - begin < 5
    assert usable(two)


def test_a_rank_that_is_killed_in_the_loop(two):
    tiny = PIPELINES["wan"]
    pipe = tiny.build()

    def step(pipe, i, t, kwargs):
        if i == 2 and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return kwargs

    begin = time.monotonic()
    with pytest.raises(tk.RankDied):
        two.generate(
            pipe, plans(pipe, tk.Schedule.interleaved(2, 2)), **QUIET, **tiny.call(), callback_on_step_end=step
        )
    assert time.monotonic() - begin < 5
    assert usable(two)


def test_an_input_that_is_written_to_before_its_result_is_looked_at():
    specimen = transformer("Wan")
    plan = tk.StagePlan(tk.StageSplit.even(4, 1), tk.Schedule.interleaved(1, 2))
    with torch.no_grad():
        staged, inputs = tk.distributed.stage(plan, specimen.build()), specimen.inputs()
        (output,) = staged(**inputs)
        inputs["hidden_states"].add_(1)
        with pytest.raises(tk.NotExact, match="written to between"):
            output + 0


def test_a_pipeline_that_goes_on_after_decoding(two):
    tiny = PIPELINES["wan"]
    pipe = tiny.build()

    def step(pipe, i, t, kwargs):
        if i == 1:
            pipe.vae.decode(kwargs["latents"])
        return kwargs

    begin = time.monotonic()
    with pytest.raises(tk.RankFailed, match="again after vae"):
        two.generate(
            pipe, plans(pipe, tk.Schedule.interleaved(2, 2)), **QUIET, **tiny.call(), callback_on_step_end=step
        )
    assert time.monotonic() - begin < 5


def test_what_is_refused_before_a_worker_starts():
    tiny = PIPELINES["wan"]
    pipe = tiny.build()
    fits = plans(pipe, tk.Schedule.interleaved(2, 2))
    with tk.Cluster(ranks=2, device="cpu", start="forkserver") as cluster:
        for call, message in [
            (lambda: cluster.generate(pipe, tk.StagePlan(tk.StageSplit.even(5, 2), tk.Schedule.interleaved(2, 2))),
             "has 6 layers"),
            (lambda: cluster.generate(pipe, plans(pipe, tk.Schedule.interleaved(3, 2))), "the cluster has 2"),
            (lambda: cluster.generate(pipe, {"transformer_2": fits["transformer"]}), "the pipeline has transformer"),
            (lambda: cluster.generate(pipe, plans(pipe, tk.Schedule.interleaved(1, 2), experts=2)), "experts=1"),
            (lambda: cluster.generate(pipe, fits, requests=[{}, {}]), "a generator of its own"),
            (lambda: cluster.generate(pipe, fits, requests=[]), "requests is empty"),
            (lambda: cluster.generate(pipe, None, requests=[{}]), "requests= without a plan"),
            (lambda: cluster.generate(pipe, fits, load={"dtype": torch.bfloat16}), "loaded already"),
        ]:  # fmt: skip
            with pytest.raises(tk.PlanError, match=message):
                call()
        with pytest.raises(tk.ModelError, match="holds no pipeline"):
            cluster.generate("nowhere", fits)
        assert cluster.pids == []


def test_a_step_cache_is_refused(two):
    specimen = transformer("Flux")
    plan = tk.StagePlan(tk.StageSplit.even(5, 1), tk.Schedule.interleaved(1, 2))
    flux = specimen.build()
    flux.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    with pytest.raises(tk.ModelError, match="step cache"):
        tk.distributed.stage(plan, flux)
