import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

import toolkit as tk
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.options import OptionFields, Options
from toolkit.models.autoencoders.recipe import Recipe

WRONG = [
    ("arguments", 3),
    ("arguments", {1: 2}),
    ("seed", True),
    ("seed", 1.0),
    ("autocast", "bfloat16"),
    ("autocast", torch.int64),
    ("recipe", {}),
    ("norm_passes", -1),
    ("norm_passes", True),
    ("norm_passes", 1.0),
    ("rules", [print]),
    ("rules", {"cumsum": 3}),
    ("rules", {"cumsum": "vecdot"}),
    ("rules", {"normalize": ["vecdot"]}),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_field_is_refused_when_the_options_are_made(name, value):
    with pytest.raises(tk.PlanError, match=name):
        tk.Options(**{name: value})


def test_options_are_a_value():
    options = tk.Options(arguments={"temb": 1}, seed=3, autocast=torch.bfloat16, recipe=Recipe(), norm_passes=2)
    assert pickle.loads(pickle.dumps(options)) == options
    assert replace(options, seed=4).norm_passes == 2
    with pytest.raises(FrozenInstanceError):
        options.seed = 4
    with pytest.raises(TypeError, match="positional"):
        tk.Options({})


def test_the_keywords_are_the_fields():
    assert set(OptionFields.__annotations__) == set(Options.__dataclass_fields__)


def test_keywords_replace_fields_of_given_options():
    assert Options.of(tk.Options(seed=3, norm_passes=1), {"seed": 4}) == tk.Options(seed=4, norm_passes=1)
    assert Options.of(None, {"arguments": None}) == tk.Options()
    with pytest.raises(tk.PlanError, match="options=3"):
        Options.of(3, {})


@pytest.mark.parametrize("call", [tk.distributed.decode, tk.distributed.encode])
def test_an_unknown_keyword_is_named(call):
    with pytest.raises(TypeError, match="'sed'"):
        call(torch.nn.Linear(1, 1), torch.zeros(1, 4, 4, 4), sed=3)


def test_a_cluster_names_an_unknown_keyword_before_it_starts():
    cluster = tk.Cluster(ranks=1)
    with pytest.raises(TypeError, match="'norm_pass'"):
        cluster.decode(torch.nn.Linear(1, 1), torch.zeros(1, 4, 4, 4), norm_pass=3)
    with pytest.raises(TypeError, match="'stream'"):
        cluster.encode(torch.nn.Linear(1, 1), torch.zeros(1, 4, 4, 4), stream=print)
    assert cluster.pids == []


def test_options_and_keywords_give_the_same_bits():
    vae, latent = tk.demo.image_vae(), tk.demo.latents("image")[..., :16, :16]
    grid = tk.TileGrid.cover({"h": 16, "w": 16}, tile=10, overlap=2)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 1))
    expected = tk.distributed.decode(vae, latent, plan, norm_passes=1)
    assert torch.equal(tk.distributed.decode(vae, latent, plan, options=tk.Options(norm_passes=1)), expected)
    both = tk.distributed.decode(vae, latent, plan, options=tk.Options(norm_passes=2), norm_passes=1)
    assert torch.equal(both, expected)


def test_a_direction_is_a_string_that_is_checked():
    assert ModelCall("encode").direction is Direction.ENCODE
    assert ModelCall().direction == "decode"
    assert {"decode": 1}[Direction.DECODE] == 1
    with pytest.raises(tk.PlanError, match="must be one of decode, encode"):
        ModelCall("sideways")
    with pytest.raises(tk.PlanError, match=r"must be a tk\.Options"):
        ModelCall("decode", {})
