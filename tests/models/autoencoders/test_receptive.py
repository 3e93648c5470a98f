"""Receptive fields: as long as the real models' where depth is real, true for slices, and never one cell too wide."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from torch import nn

import toolkit as tk
from toolkit.models.autoencoders.census import DOWN, UP, specimen
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.receptive import Halo, receptive_field
from toolkit.models.autoencoders.tiling import spatial_ratio

LOCAL = [
    "AutoencoderTiny",
    "AutoencoderDC",
    "AutoencoderKLLTXVideo_0.9.0",
    "AutoencoderKLLTXVideo_0.9.5",
    "AutoencoderKLLTX2Video",
    "Kandinsky6SRVAE",
]


def kl() -> AutoencoderKL:
    """As deep as the released ones, and narrow."""
    blocks = {"down_block_types": (DOWN,) * 4, "up_block_types": (UP,) * 4, "block_out_channels": (4, 4, 4, 4)}
    return AutoencoderKL(**blocks, layers_per_block=2, norm_num_groups=2).eval()


def wan() -> AutoencoderKLWan:
    return AutoencoderKLWan(base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=2).eval()


@pytest.mark.parametrize(
    ("make", "decode", "encode", "norm", "attention"),
    [
        (kl, Halo(18, 18), Halo(13, 14), True, True),
        (wan, Halo(18, 18), Halo(13, 14), False, True),
        (specimen("AutoencoderTiny").build, Halo(19, 19), Halo(19, 18), False, False),
    ],
)
def test_models_of_real_depth(make, decode, encode, norm, attention):
    vae = make()
    for direction, halo in (("decode", decode), ("encode", encode)):
        field = receptive_field(vae, direction)
        assert field.h == field.w == halo
        assert (field.global_norm, field.global_attention, field.draws) == (norm, attention, False)
        assert field.local == (not norm and not attention)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AutoencoderDC_sana", (False, True, False)),
        ("AutoencoderKLMochi", (True, False, False)),
        ("AutoencoderKLLTXVideo_0.9.1", (False, False, True)),
        ("AutoencoderVidTok_causal", (False, True, False)),
    ],
)
def test_what_sees_the_whole_map(name, expected):
    model = specimen(name)
    field = receptive_field(model.build(), "decode", model.call, model.latent(3, 3).shape)
    assert (field.global_norm, field.global_attention, field.draws) == expected
    assert len(field.obstacles) == 1


@pytest.mark.parametrize(
    ("name", "direction"),
    [*((name, "decode") for name in LOCAL), ("AutoencoderTiny", "encode"), ("AutoencoderDC", "encode")],
)
@torch.no_grad()
def test_a_slice_with_its_halo_is_the_whole(name, direction):
    """Rows of the whole, from a slice; the row at the end of the halo counts, and the one beyond it does not."""
    model = specimen(name)
    vae, call = model.build(), ModelCall(direction, tk.Options(arguments=model.call if direction == "decode" else {}))
    make = model.latent if direction == "decode" else model.sample
    halo = receptive_field(vae, direction, call.options.arguments, make(3, 3).shape).h
    first, last = halo.before + 1, halo.before + 3
    x = make(last + halo.after + 1, 2)
    ratio = spatial_ratio(vae) if direction == "encode" else 1
    whole = call(vae, x)
    rows = whole.shape[-2] * ratio // x.shape[-2]
    expected = whole[..., first * rows : last * rows, :]

    def error(start: int, stop: int) -> float:
        """How far cells first..last of the output are from the whole's, made from the input's cells start..stop."""
        part = call(vae, x[..., start * ratio : stop * ratio, :])
        return float((part[..., (first - start) * rows : (last - start) * rows, :] - expected).abs().max())

    assert error(1, last + halo.after) < 1e-5 * expected.abs().max()
    assert error(first - 2, last + 2) > 1e-4 * expected.abs().max()
    x[..., ratio : 2 * ratio, :] = torch.nan
    touched = call(vae, x).isnan()
    assert touched[..., first * rows : (first + 1) * rows, :].any()
    assert not touched[..., (first + 1) * rows :, :].any()


def test_the_model_is_left_as_it_was_found():
    for name in ("AutoencoderDC_sana", "AutoencoderKLWan_2.1"):
        model = specimen(name)
        vae = model.build()
        vae.decode(model.latent(4, 4))
        found = [(module, dict(vars(module))) for module in vae.modules()]
        receptive_field(vae)
        assert all(vars(module).keys() == before.keys() for module, before in found)
        assert all(vars(module)[key] is value for module, before in found for key, value in before.items())


def test_a_shape_that_the_model_refuses_is_said():
    with pytest.raises(tk.ModelError, match="give the shape="):
        receptive_field(specimen("AutoencoderKLMiniMaxH3").build())


def test_what_the_probe_cannot_see_is_said():
    class Mean(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) + x.mean((-2, -1), keepdim=True).mean()

    class Sure(nn.Conv2d):
        def forward(self, x):
            return super().forward(x).nan_to_num()

    for kind, message in ((Mean, "reaches the border"), (Sure, "does not reach the output")):
        vae = specimen("AutoencoderTiny").build()
        vae.decoder.layers[0] = kind(4, 8, 3, padding=1)
        with pytest.raises(tk.ModelError, match=message):
            receptive_field(vae)
