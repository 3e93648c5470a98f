"""What is no autoencoder, or in a state that cannot be served, is refused by name before anything runs."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch
from support import tiny
from torch import nn

import toolkit as tk
from toolkit.geometry.plan import WholeCall
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.model_check import COMPILED, checked_model, notes_on

WHOLE = WholeCall()


def wrapped_for_training() -> nn.Module:
    return nn.DataParallel(tiny.kl())


NO_MODELS = {
    "None": (lambda: None, "the model is None: give an autoencoder"),
    "a string": (lambda: "path", "the model is a str: give an autoencoder"),
    "a class": (lambda: type(tiny.kl()), "the class AutoencoderKL, not an instance"),
    "a pipeline": (lambda: SimpleNamespace(components={"vae": tiny.kl()}, vae=tiny.kl()), r"pipe\.vae"),
    "another module": (lambda: nn.Linear(2, 2), "a Linear, which has no method decode"),
    "a wrapper": (wrapped_for_training, r"wrapped in DataParallel.*vae\.module"),
}


@pytest.mark.parametrize("what", NO_MODELS)
def test_what_is_no_autoencoder(what):
    make, message = NO_MODELS[what]
    with pytest.raises(tk.ModelError, match=message):
        checked_model(make(), ModelCall(), WHOLE)


def sparse(vae: nn.Module) -> None:
    key = vae.decoder.mid_block.attentions[0].to_k
    key.weight = nn.Parameter(key.weight.to_sparse(), requires_grad=False)


def compiled_part(vae: nn.Module) -> None:
    vae.decoder = torch.compile(vae.decoder, backend="eager")


def quantised(vae: nn.Module) -> None:
    with warnings.catch_warnings(action="ignore"):
        attention = vae.decoder.mid_block.attentions[0]
        attention.to_k = torch.ao.quantization.quantize_dynamic(nn.Sequential(attention.to_k), {nn.Linear})[0]


def quantised_buffer(vae: nn.Module) -> None:
    with warnings.catch_warnings(action="ignore"):
        vae.register_buffer("table", torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8))


def wrapped_part(vae: nn.Module) -> None:
    vae.decoder = nn.DataParallel(vae.decoder)


STATES = {
    "meta": (
        lambda vae: vae.to("meta"),
        r"AutoencoderKL\.encoder\.conv_in\.weight is on the meta device.*tk\.rehearse",
    ),
    "sparse": (sparse, r"attentions\.0\.to_k\.weight is a sparse tensor.*to_dense"),
    "quantised": (quantised, r"attentions\.0\.to_k is quantised by torch \(Linear\)"),
    "quantised buffer": (quantised_buffer, r"AutoencoderKL\.table is quantised"),
    "compiled part": (
        compiled_part,
        r"decoder of AutoencoderKL is what torch\.compile returned.*vae\.decoder\.compile",
    ),
    "wrapped part": (wrapped_part, r"AutoencoderKL\.decoder is wrapped in DataParallel.*decoder\.module"),
    "lazy": (lambda vae: vae.add_module("late", nn.LazyLinear(2)), r"AutoencoderKL\.late\.weight is not made yet"),
}


@pytest.mark.parametrize("state", STATES)
def test_states_that_cannot_be_served(state):
    change, message = STATES[state]
    vae = tiny.kl()
    checked_model(vae, ModelCall(), WHOLE)
    change(vae)
    with pytest.raises(tk.ModelError, match=message):
        checked_model(vae, ModelCall(), WHOLE)


def test_a_rehearsal_needs_no_weights():
    vae = tiny.kl().to("meta")
    assert checked_model(vae, ModelCall(), WHOLE, weights=False) is vae


def test_a_compiled_model_is_looked_through():
    vae = tiny.kl()
    wrapped = torch.compile(vae, backend="eager")
    assert checked_model(wrapped, ModelCall(), WHOLE) is vae
    assert checked_model(vae, ModelCall(), WHOLE) is vae
    assert COMPILED in notes_on(wrapped)
    assert not notes_on(vae)
    vae.decoder.compile(backend="eager")
    assert COMPILED in notes_on(vae)


def test_dropout_in_training_mode_is_for_the_whole_only():
    vae, shards = tiny.kl(), tk.ShardPlan(h=2)
    vae.train()
    # Its own dropouts have a probability of 0.
    checked_model(vae, ModelCall(), shards)
    vae.decoder.drop = nn.Dropout(0.1)
    checked_model(vae, ModelCall(), WHOLE)
    with pytest.raises(tk.ModelError, match=r"decoder\.drop of AutoencoderKL is a Dropout in training mode.*vae\.eval"):
        checked_model(vae, ModelCall(), shards)
    checked_model(vae.eval(), ModelCall(), shards)


def test_the_public_functions_look_at_model_and_input():
    vae, x = tiny.kl(), tiny.latent("kl", 8, 8)
    with pytest.raises(tk.ModelError, match="the model is a str"):
        tk.distributed.decode("path", x)
    changed = tiny.kl()
    wrapped_part(changed)
    for call in (tk.distributed.decode, tk.rehearse):
        with pytest.raises(tk.ModelError, match="is wrapped in DataParallel"):
            call(changed, x)
        with pytest.raises(tk.PlanError, match=r"latent is torch\.float16"):
            call(vae, x.half())
        with pytest.raises(tk.PlanError, match="AutoencoderKL decodes b c h w"):
            call(vae, x[0])
    with pytest.raises(tk.PlanError, match="it has 3 channels"):
        tk.rehearse(vae, (1, 3, 8, 8))
    with pytest.raises(tk.PlanError, match=r"sample is torch\.float64"):
        tk.distributed.encode(vae, torch.zeros(1, 3, 8, 8, dtype=torch.float64))


def test_not_finite_values_are_told():
    vae, x = tiny.kl(), tiny.latent("kl", 8, 8)
    x[0, 1, 2, 3] = torch.nan
    x[0, 3, 2, 3] = torch.inf
    message = r"2 of 256 values of the latent .* first at \(0, 1, 2, 3\)"
    with pytest.warns(tk.errors.NotFiniteWarning, match=message) as told:
        tk.distributed.decode(vae, x)
    assert told[0].filename == __file__


def test_compiled_models_and_inputs_with_gradients_give_the_same_bits():
    vae, x = tiny.kl(), tiny.latent("kl", 8, 8)
    plan = tk.ShardPlan()
    expected = tk.distributed.decode(vae, x, plan)
    output = tk.distributed.decode(torch.compile(vae, backend="eager"), x.clone().requires_grad_(), plan)
    assert torch.equal(output, expected)
    assert not output.requires_grad
