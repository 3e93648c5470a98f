"""Odd arguments that a campaign of fuzzed calls found: each is refused by the public function, before anything runs."""

from math import inf, nan

import pandas as pd
import pytest
import torch

import toolkit as tk
from toolkit import plot
from toolkit.models import demo

SHAPE = (1, 16, 8, 8)
PICTURE = torch.zeros(1, 3, 16, 16)
TABLE = pd.DataFrame({"code": ["round(1.5)"]})
TWO = {1: 3.0, 2: 2.0}


@pytest.fixture(scope="module")
def vae():
    return demo.image_vae()


def assumed():
    return tk.Profile.assume(operations=1e10, bandwidth=1e10)


def plan(vae, shape=SHAPE, ranks=2, **given):
    return tk.plan(vae, shape, ranks, **{"profile": assumed(), "progress": False} | given)


CALLS = {
    "fit of a number": (lambda _: tk.fit_memory(60), "measured=60: must be a dict"),
    "fit of words": (lambda _: tk.fit_memory({"a": 1, "b": 2}), "measured for 'a' ranks"),
    "fit of half a rank": (lambda _: tk.fit_memory({1.5: 2.0, 2: 1.0}), "measured for 1.5 ranks"),
    "fit of nan": (lambda _: tk.fit_memory({1: nan, 2: 1.0}), "measured[1]=nan: must be a finite number"),
    "memory at half a rank": (lambda _: tk.fit_memory(TWO).at(0.5), "ranks=0.5: must be an int"),
    "memory at no rank": (lambda _: tk.fit_memory(TWO).at(0), "ranks=0: must be an int of at least 1"),
    "objective that is a number": (lambda _: tk.search({"a": [1]}, points=3, objective=5), "objective=5: must be"),
    "direction that is a number": (lambda _: tk.search({"a": [1]}, points=3, direction=5), "direction=5: must be"),
    "values that are a number": (lambda _: tk.search({"a": 5}, points=3), "a=5: give a list of values"),
    "stages of a number": (lambda _: tk.virtual(8, set()), "plan=8: must be a StagePlan or a StageSplit"),
    "stages of no model": (lambda _: tk.virtual(tk.StageSplit.even(8, 2), 5), "transformer=5 is no module"),
    "program of no table": (lambda _: tk.reproduce(5, 0), "table=5: give a table that tk.sweep returned"),
    "program of a list": (lambda _: tk.reproduce(TABLE, [0]), "row=[0] is not in the table's index"),
    "times of a number": (lambda _: tk.stage_times(7), "run=7: give the run"),
    "grid of a number": (lambda vae: tk.diffusers_grid(vae, 5), "latent_shape=5: must be b c h w"),
    "grid of words": (lambda vae: tk.diffusers_grid(vae, "abcd"), "latent_shape='abcd': must be b c h w"),
    "grid of floats": (lambda vae: tk.diffusers_grid(vae, (1, 16, 1.5, 2.5)), "latent_shape[2]=1.5: must be an int"),
    "exact grid of no model": (lambda _: tk.exact_grid(3, SHAPE, 8), "vae=3 is no module"),
    "exact grid of no shape": (lambda vae: tk.exact_grid(vae, 5, 8), "shape=5: must be b c h w"),
    "reach of no model": (lambda _: tk.receptive_field(3), "vae=3 is no module"),
    "plan of no shape": (lambda vae: plan(vae, 5), "latent=5: must be b c h w"),
    "plan of words": (lambda vae: plan(vae, "abcd"), "latent='abcd': must be b c h w"),
    "plan of one size": (lambda vae: plan(vae, (16,)), "latent=(16,): must be b c h w"),
    "plan of no model": (lambda _: plan(3), "vae=3 is no module"),
    "plan for a million ranks": (
        lambda vae: plan(vae, ranks=10**6),
        "ranks=1000000: must be an int of at least 1 and at",
    ),
    "plan that is exact in words": (lambda vae: plan(vae, exact="no"), "exact='no': must be True or False"),
    "plan in nan bytes": (lambda vae: plan(vae, memory=nan), "memory=nan: must be a number of bytes"),
    "plan in negative bytes": (lambda vae: plan(vae, memory=-1), "memory=-1: must be a number of bytes"),
    "plan within a nan": (lambda vae: plan(vae, torch.zeros(SHAPE), error=nan), "error=nan: must be a part of"),
    "plan by a number": (lambda vae: plan(vae, profile=3), "profile=3: must be a profile"),
    "plan on a number": (lambda vae: plan(vae, topology=3), "topology=3: must be a tk.Topology"),
    "rehearsal by a number": (lambda vae: tk.rehearse(vae, SHAPE, profile=3), "profile=3: must be a profile"),
    "rehearsal on a number": (lambda vae: tk.rehearse(vae, SHAPE, topology=3), "topology=3: must be a tk.Topology"),
    "rehearsal of a device": (lambda vae: tk.rehearse(vae, SHAPE, device="bogus"), "device='bogus': must be"),
    "rehearsal of an endless map": (lambda vae: tk.rehearse(vae, (1, 16, 1, inf)), "give the input of the call"),
    "rehearsal of half a cell": (lambda vae: tk.rehearse(vae, (1, 16, 8, 8.5)), "give the input of the call"),
    "speed in words": (lambda _: tk.Profile.assume(operations="x", bandwidth=1.0), "operations='x': must be a finite"),
    "negative bandwidth": (lambda _: tk.Profile.assume(operations=1.0, bandwidth=-1), "bandwidth=-1: must be a finite"),
    "name that is a number": (lambda _: tk.compare(PICTURE, PICTURE, name=1), "name=1: must be a word"),
    "grid that is a number": (lambda _: tk.compare(PICTURE, PICTURE, grid=3), "grid=3: must be a TileGrid"),
    "range in words": (lambda _: tk.compare(PICTURE, PICTURE, data_range="x"), "data_range='x': must be above 0"),
    "endless range": (lambda _: tk.compare(PICTURE, PICTURE, data_range=inf), "data_range=inf: must be above 0"),
    "stop in words": (lambda _: tk.sweep(round, {"number": [1.5]}, stop=""), "stop='': must be a function"),
    "sweep of no function": (lambda _: tk.sweep(3, {"number": [1.5]}), "function=3: must be a function"),
    "sweep of no space": (lambda _: tk.sweep(round, 5), "space=5: give values by parameter"),
    "sweep of endless points": (lambda _: tk.sweep(round, {"number": range(10**9)}), "a sweep has at most 1000000"),
    "store that is a number": (lambda _: tk.sweep(round, {"number": [1.5]}, store=5), "store=5: must be the path"),
    "seed beyond torch's": (lambda _: tk.Options(seed=10**40), "torch takes seeds from"),
    "latents of an unknown demo": (lambda _: demo.latents("bogus"), "vae='bogus': must be one of image, video"),
    "latents of no model": (lambda _: demo.latents(5), "vae=5 is no module"),
}


@pytest.mark.parametrize(("call", "said"), CALLS.values(), ids=CALLS)
def test_odd_arguments_are_refused_with_the_value_and_the_rule(call, said, vae):
    with pytest.raises(tk.ToolkitError) as error:
        call(vae)
    assert said in str(error.value)


@pytest.mark.parametrize("name", sorted({*plot.__all__} - {"Figure"}))
@pytest.mark.parametrize("odd", [5, None, [], pd.DataFrame({"a": [1]})], ids=["number", "none", "empty", "table"])
def test_figures_refuse_what_they_cannot_draw(name, odd):
    with pytest.raises(tk.ToolkitError):
        getattr(plot, name)(odd)


@pytest.mark.parametrize(
    "odd",
    [
        {"start": "bogus"},
        {"device": "bogus"},
        {"device": 3},
        {"device": "meta"},
        {"device": "cuda:99"},
        {"timeout": nan},
        {"timeout": inf},
        {"timeout": -1},
        {"timeout": 0},
        {"timeout": "x"},
        {"timeout": True},
        {"backend": "bogus"},
        {"backend": 3},
        {"identify": "bogus"},
        {"convolutions": "bogus"},
        {"convolutions": []},
        {"keep_memory": "no"},
        {"ranks": 10**30},
        {"threads": 0},
    ],
    ids=str,
)
def test_a_cluster_refuses_odd_arguments_before_it_starts_workers(odd):
    (name,) = odd
    with pytest.raises(tk.PlanError, match=f"^{name}="):
        tk.Cluster(**{"ranks": 1, "device": "cpu"} | odd)
