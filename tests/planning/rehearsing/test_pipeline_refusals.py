"""What a cluster refuses of pipelines, a rehearsal refuses in the same words; and what it asks for beyond that."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from support.staged import QUIET, plans

import toolkit as tk
from toolkit.cluster.generate_request import GenerateRequest
from toolkit.errors import ModelError, PlanError, ToolkitError
from toolkit.planning.rehearsing.rehearse import rehearse

Schedule = tk.Schedule
TWO = Schedule.interleaved(2, branches=2)
IN_FLIGHT = Schedule.requests(2, branches=2, requests=2)


@pytest.fixture(scope="module")
def pipe():
    return tk.demo.pipeline()


@pytest.fixture(scope="module")
def pair(pipe):
    """A pipeline with two transformers."""
    two = copy.copy(pipe)
    parts = {**pipe.components, "transformer_2": pipe.transformer}
    return type(two)(**parts, boundary_ratio=0.5)


def plan_for(pipe, schedule=TWO, **more):
    return plans(pipe, schedule, **more)["transformer"]


def refused(call) -> ToolkitError:
    with pytest.raises(ToolkitError) as refusal:
        call()
    return refusal.value


SHARED = torch.Generator()
BAD = {
    "another number of layers": lambda _: (tk.StagePlan(tk.StageSplit.even(6, 2), TWO), {}),
    "an unknown transformer": lambda pipe: ({"denoiser": plan_for(pipe)}, {}),
    "no transformer": lambda _: ({}, {}),
    "more experts than there are": lambda pipe: (plan_for(pipe, experts=2), {}),
    "shards": lambda _: (tk.ShardPlan(h=2), {}),
    "a word": lambda _: ("two", {}),
    "requests without generators": lambda pipe: (plan_for(pipe, IN_FLIGHT), {"requests": [{}, {}]}),
    "requests with one": lambda pipe: (plan_for(pipe, IN_FLIGHT), {"requests": [{"generator": SHARED}] * 2}),
    "requests, but none": lambda pipe: (plan_for(pipe, IN_FLIGHT), {"requests": []}),
    "requests without a plan": lambda _: (None, {"requests": [{"generator": torch.Generator()}]}),
    "load of what is loaded": lambda pipe: (plan_for(pipe), {"load": {"dtype": torch.bfloat16}}),
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_cluster_refuses_is_refused_in_the_same_words(cluster, pipe, name):
    plan, more = BAD[name](pipe)
    call = {**tk.demo.call(), **more}
    call.pop("generator")
    mine, its = (
        refused(lambda: rehearse(pipe, plan=plan, **call)),
        refused(lambda: cluster.generate(pipe, plan, **QUIET, **call)),
    )
    assert (type(mine), str(mine)) == (type(its), str(its))


def test_plans_that_do_not_name_every_transformer_are_refused_in_the_same_words(cluster, pipe, pair):
    four = plan_for(pipe, Schedule.interleaved(4, 2))
    for plan in ({"transformer": plan_for(pipe)}, {"transformer": plan_for(pipe), "transformer_2": four}):
        mine = refused(lambda plan=plan: rehearse(pair, plan=plan, **tk.demo.call()))
        its = refused(lambda plan=plan: cluster.generate(pair, plan, **QUIET, **tk.demo.call()))
        assert (type(mine), str(mine)) == (type(its), str(its))


@pytest.mark.parametrize("what", ["/nowhere", None, "scheduler"])
def test_what_is_no_pipeline_is_refused_in_the_same_words(cluster, pipe, what):
    source = pipe.scheduler if what == "scheduler" else what
    mine = refused(lambda: rehearse(source, plan=plan_for(pipe)))
    its = refused(lambda: cluster.generate(source, plan_for(pipe), **QUIET))
    assert (type(mine), str(mine)) == (type(its), str(its))
    assert isinstance(mine, ModelError)


def test_what_the_plan_of_the_vae_refuses_in_the_middle_of_a_run(cluster, pipe):
    plan = plan_for(pipe, Schedule.interleaved(4, 2), vae=tk.ShardPlan(h=4))
    call = tk.demo.call(num_inference_steps=1, num_frames=1, height=16, width=16)
    mine = refused(lambda: rehearse(pipe, plan=plan, **call))
    its = refused(lambda: cluster.generate(pipe, plan, **QUIET, **call))
    assert isinstance(mine, PlanError)
    assert f"raised PlanError: {mine}" in str(its)


def test_an_argument_that_the_pipeline_does_not_know_is_its_own_error(pipe):
    for plan in (None, plan_for(pipe)):
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
            rehearse(pipe, plan=plan, **tk.demo.call(colour="red"))


def test_what_only_a_rehearsal_is_asked(pipe):
    vae, plan, call = tk.demo.image_vae(), plan_for(pipe), tk.demo.call()
    with pytest.raises(PlanError, match="input_or_shape=None: give the input"):
        rehearse(vae)
    with pytest.raises(PlanError, match="several plans are for the transformers of a pipeline"):
        rehearse(vae, (1, 16, 4, 4), {"transformer": plan})
    with pytest.raises(PlanError, match="input_or_shape for a pipeline: leave it out"):
        rehearse(pipe, (1, 16, 4, 4), plan, **call)
    with pytest.raises(PlanError, match="the topology has 1"):
        rehearse(pipe, plan=plan, topology=tk.Topology(), **call)
    with pytest.raises(PlanError, match="leave out device="):
        rehearse(pipe, plan=plan, device="cpu", profile=tk.Profile.assume(operations=1, bandwidth=1, device="cuda"))


def test_a_plan_of_stages_for_an_autoencoder_is_refused_in_the_same_words(cluster, pipe):
    vae, x, plan = tk.demo.image_vae(), torch.zeros(1, 16, 4, 4), plan_for(pipe)
    mine, its = refused(lambda: rehearse(vae, x, plan)), refused(lambda: cluster.decode(vae, x, plan, **QUIET))
    assert (type(mine), str(mine)) == (type(its), str(its))


def test_hosts_that_divide_a_stage_are_refused_in_the_same_words(pipe):
    plan = plan_for(pipe, tp=2)
    apart = "tp=2: ranks 0 to 1 share a stage, and are on hosts {} and {}, which would talk in every layer"
    with pytest.raises(PlanError, match=apart.format(0, 1)):
        rehearse(pipe, plan=plan, topology=tk.Topology(hosts=2, per_host=(1, 3)), **tk.demo.call())
    elsewhere = SimpleNamespace(pool=SimpleNamespace(engine=SimpleNamespace(hosts=["a", "b", "b", "b"])))
    request = GenerateRequest(pipe, plan, tk.demo.call(), None, memory=False, load={})
    with pytest.raises(PlanError, match=apart.format("a", "b")):
        request.run(elsewhere, None, [], ranks=4, setting={})
