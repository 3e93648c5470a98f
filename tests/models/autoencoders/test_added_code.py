"""What nobody has looked at in a model is found; what comes with diffusers is not."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from toolkit.models import demo
from toolkit.models.autoencoders.added_code import added_code
from toolkit.models.autoencoders.census import CENSUS


@pytest.mark.parametrize("name", CENSUS)
def test_the_classes_of_the_table_have_none(name):
    assert added_code(CENSUS[name].build()) is None


def test_the_demo_models_have_none():
    assert added_code(demo.image_vae()) is None
    assert added_code(demo.video_vae()) is None


class Mine(nn.Identity):
    pass


def a_hook(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
    pass


def processor(*args: object) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda vae: setattr(vae.decoder, "conv_norm_out", Mine()), "decoder.conv_norm_out is a Mine"),
        (lambda vae: vae.encoder.register_forward_hook(a_hook), "encoder has a hook, a_hook"),
        (lambda vae: vae.register_forward_pre_hook(lambda *_: None), "AutoencoderKL has a hook, <lambda>"),
        (lambda vae: setattr(vae.decoder, "forward", a_hook), "decoder.forward is a_hook"),
        (lambda vae: setattr(vae.decoder, "act", functools.partial(processor, 1)), "decoder.act is processor"),
        (lambda vae: vae.decoder.mid_block.attentions[0].set_processor(processor),
         "decoder.mid_block.attentions.0.processor is processor"),
    ],
)  # fmt: skip
def test_each_is_named(change, found):
    vae = CENSUS["AutoencoderKL"].build()
    change(vae)
    assert added_code(vae) == found


def test_a_subclass_is_not_in_the_table():
    vae = CENSUS["AutoencoderKL"].build()
    vae.__class__ = type("MyVAE", (type(vae),), {})
    assert added_code(vae) == "MyVAE is not in the table of classes"
