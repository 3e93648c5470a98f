"""Inputs that a model's own call refuses, or gets wrong, are refused before it; the others are not."""

from __future__ import annotations

import pytest
import torch
from support import tiny

import toolkit as tk
from toolkit.models.autoencoders.census import CENSUS
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.input_check import check_input
from toolkit.models.autoencoders.model_call import ModelCall

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.int64,
    torch.uint8,
    torch.bool,
    torch.complex64,
]
WRONG = {
    # Bytes wrap around when one is added.
    ("AutoencoderTiny", "encode"): {torch.uint8, torch.int64, torch.bool},
    # Its wavelets are computed in integers.
    ("AutoencoderKLCosmos", "encode"): {torch.uint8, torch.int64},
    # Imaginary parts are dropped.
    ("AutoencoderKLMiniMaxH3", "encode"): {torch.complex64},
    ("AutoencoderKLMiniMaxH3", "decode"): {torch.complex64},
}
"""What a class's own call takes and gets wrong."""


def refused(vae, x, call) -> bool:
    try:
        check_input(vae, x, call)
    except tk.PlanError:
        return True
    return False


def raises(vae, x, call) -> bool:
    try:
        with torch.no_grad():
            call(vae, x)
    except Exception:
        return True
    return False


@pytest.mark.parametrize("name", CENSUS)
def test_every_class_takes_what_its_own_call_takes(name):
    one = CENSUS[name]
    vae, layout = one.build(), "b c t h w" if one.frames else "b c h w"
    for way, x in ((Direction.DECODE, one.latent(2, 2)), (Direction.ENCODE, one.sample(2, 2))):
        call = ModelCall(way, tk.Options(arguments=one.call if way == "decode" else {}, seed=0))
        check_input(vae, x, call)
        given = {dtype: x.to(dtype) for dtype in DTYPES if dtype != torch.float32}
        expected = {dtype: raises(vae, value, call) for dtype, value in given.items()}
        expected |= dict.fromkeys(WRONG.get((name, way), set()), True)
        assert {dtype: refused(vae, value, call) for dtype, value in given.items()} == expected
        for wrong in (x[0], x[None]):
            with pytest.raises(tk.PlanError, match=f"{one.cls} {way}s {layout}"):
                check_input(vae, wrong, call)
        if (name, way) == ("AutoencoderKLMochi", "encode"):
            continue  # It does not state them.
        for wrong in (x[:, 1:], torch.cat([x, x], 1)):
            with pytest.raises(tk.PlanError, match=rf"{wrong.shape[1]} channels.*{way}s {x.shape[1]} \(b c"):
                check_input(vae, wrong, call)


KINDS = {
    "nested": (lambda x: torch.nested.nested_tensor([x[0], x[0]], layout=torch.jagged), "padded"),
    "sparse": (lambda x: x.to_sparse(), r"latent\.to_dense\(\)"),
    "quantised": (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8), r"latent\.dequantize\(\)"),
    "on the meta device": (lambda x: x.to("meta"), "no values"),
    "is empty": (lambda x: x[:, :, :0], "at least 1"),
    "is a list": (lambda x: x.tolist(), r"torch\.Tensor that vae\.decode takes"),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_plain_tensor(kind):
    make, remedy = KINDS[kind]
    with pytest.raises(tk.PlanError, match=rf"latent.*{kind}.*{remedy}"):
        check_input(tiny.kl(), make(tiny.latent("kl", 4, 4)), ModelCall())


def test_a_rehearsal_needs_no_values():
    check_input(tiny.kl().to("meta"), tiny.latent("kl", 4, 4).to("meta"), ModelCall(), values=False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_autocast_casts_floats_but_doubles(dtype):
    vae, x = tiny.kl(), tiny.latent("kl", 4, 4)
    call = ModelCall("decode", tk.Options(autocast=torch.bfloat16))
    assert refused(vae, x.to(dtype), call) == raises(vae, x.to(dtype), call)
    with torch.autocast("cpu", torch.bfloat16):
        assert refused(vae, x.to(dtype), ModelCall()) == raises(vae, x.to(dtype), ModelCall())
    assert refused(vae.double(), x, call) == raises(vae, x, call)


def test_the_other_half_has_no_say():
    vae, x = tiny.kl(), tiny.latent("kl", 4, 4)
    vae.encoder.half()
    vae.quant_conv.half()
    check_input(vae, x, ModelCall())


def test_weights_in_eight_bits_are_cast_by_hooks():
    vae, x = tiny.kl(), tiny.latent("kl", 4, 4)
    vae.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert not raises(vae, x, ModelCall())
    check_input(vae, x, ModelCall())
    assert refused(vae, x.long(), ModelCall())
