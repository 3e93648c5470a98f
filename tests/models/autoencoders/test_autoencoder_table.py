"""The table of autoencoder classes: one entry per class, one look-up, and subclasses share their parent's entry."""

from __future__ import annotations

import diffusers
import pytest
import torch

import toolkit as tk
from toolkit.models.autoencoders.autoencoder_entry import AutoencoderEntry, Borders
from toolkit.models.autoencoders.autoencoder_table import AUTOENCODER_ENTRIES, entry_of, recipe_of
from toolkit.models.autoencoders.census import CENSUS
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.recipe import Recipe
from toolkit.models.autoencoders.sharding import sharding_of


class AutoencoderRAE:
    """Stands for diffusers' class of this name: the table names classes, it does not import them."""


class MyRAE(AutoencoderRAE):
    """A subclass of a class that is refused."""


class MyDC(diffusers.AutoencoderDC):
    """A subclass of a class that is prepared before a sharded call."""


class MyAllegro(diffusers.AutoencoderKLAllegro):
    """A subclass of a class whose own call is the toolkit's."""


class MyWan(diffusers.AutoencoderKLWan):
    """A subclass of a class whose borders may be recomputed."""


def like(cls: type, name: str) -> torch.nn.Module:
    """A specimen's weights in a subclass of its class."""
    one = CENSUS[name].build()
    model = cls(**CENSUS[name].config)
    model.load_state_dict(one.state_dict())
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("direction", Direction)
def test_a_subclass_of_a_refused_class_is_refused_on_shards(direction):
    with pytest.raises(tk.ModelError, match=rf"MyRAE.*{direction}.*fixed number of positions"):
        sharding_of(MyRAE(), ModelCall(direction))


def test_a_subclass_of_a_refused_class_is_refused_in_tiles():
    with pytest.raises(tk.ModelError, match=r"MyRAE does not work in tiles.*plan=None"):
        recipe_of(MyRAE())


def test_a_subclass_is_prepared_for_shards():
    vae = like(MyDC, "AutoencoderDC_sana")
    attentions = [module for module in vae.modules() if hasattr(module, "to_qkv_multiscale")]
    assert attentions
    with sharding_of(vae, ModelCall()).prepared(vae):
        assert all(module.attention_head_dim < 1 for module in attentions)  # every map takes the linear form


@pytest.mark.parametrize("direction", Direction)
def test_a_subclass_of_a_class_without_a_call_gets_its_own(direction):
    one = CENSUS["AutoencoderKLAllegro"]
    x = one.latent(2, 3) if direction == "decode" else one.sample(2, 3)
    with torch.no_grad():
        expected = ModelCall(direction)(one.build(), x)
        assert torch.equal(ModelCall(direction)(like(MyAllegro, one.name), x), expected)


def test_a_subclass_of_a_class_may_recompute_borders():
    plan = tk.ShardPlan(h=2, borders="recompute")
    sharding = sharding_of(like(MyWan, "AutoencoderKLWan_2.1"), ModelCall())
    assert sharding.parts(plan, (1, 4, 2, 6, 6))["h"] == (3, 3)
    assert sharding.borders == Borders("up_blocks.0")
    vae = CENSUS["AutoencoderKL"].build()
    with pytest.raises(tk.ModelError, match=r"borders='recompute' with AutoencoderKL.*AutoencoderKLWan"):
        sharding_of(vae, ModelCall()).parts(plan, (1, 4, 6, 6))


def test_the_nearest_class_counts():
    heir = type("AutoencoderKL", (diffusers.AutoencoderKLWan,), {})
    assert entry_of(heir) is AUTOENCODER_ENTRIES["AutoencoderKL"]
    assert entry_of(MyWan) is AUTOENCODER_ENTRIES["AutoencoderKLWan"]
    assert entry_of(torch.nn.Linear) is None


@pytest.mark.parametrize("name", AUTOENCODER_ENTRIES)
def test_every_entry_is_of_a_class_of_diffusers_and_says_why(name):
    entry = AUTOENCODER_ENTRIES[name]
    if hasattr(diffusers, name):
        assert isinstance(getattr(diffusers, name), type)
    else:
        assert entry.no_tiles  # a class that only other releases have may be refused, not served
    special = entry.prepare, entry.own_calls, entry.tiles and (entry.tiles.decode or entry.tiles.finish)
    assert entry.reason or not any(special)
    if entry.borders is not None and entry.borders.module:
        specimen = next(one for one in CENSUS.values() if one.cls == name)
        specimen.build().decoder.get_submodule(entry.borders.module)


def test_an_entry_checks_itself():
    with pytest.raises(tk.PlanError, match="tiles or no_tiles"):
        AutoencoderEntry()
    with pytest.raises(tk.PlanError, match="tiles or no_tiles"):
        AutoencoderEntry(tiles=Recipe(), no_tiles="it does not")
    with pytest.raises(tk.PlanError, match=r"prepare.*reason"):
        AutoencoderEntry(tiles=Recipe(), prepare=print)
    with pytest.raises(tk.PlanError, match=r"no_shards.*sideways"):
        AutoencoderEntry(tiles=Recipe(), no_shards={"sideways": "no"})
    with pytest.raises(tk.PlanError, match=r"mirrors.*unlike"):
        AutoencoderEntry(tiles=Recipe(mirrors=()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("decode", 3),
        ("finish", "clamp"),
        ("frames", 4),
        ("patch", 2),
        ("moments", 0),
        ("moments", True),
        ("uncast", ("sideways",)),
        ("mirrors", "decode"),
        ("time_first", 1),
        ("framewise", {"decode": 3}),
        ("unlike", None),
    ],
)
def test_a_recipe_checks_itself(field, value):
    with pytest.raises(tk.PlanError, match=field):
        Recipe(**{field: value})


def test_a_recipe_takes_plain_strings():
    assert Recipe(mirrors=("decode",)).mirrors == (Direction.DECODE,)
    assert Recipe(framewise={"decode": "a", "encode": "b"}).framewise[Direction.ENCODE] == "b"
