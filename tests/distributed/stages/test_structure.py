"""Objects that ranks hand each other: what may travel arrives as it was, and nothing else is even looked at."""

from __future__ import annotations

import os
import pickle
import sys
from collections import OrderedDict, defaultdict, deque
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from hypothesis import given
from hypothesis import strategies as st
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPooling

import toolkit as tk
from toolkit.distributed.stages.structure import put_together, taken_apart

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda one: st.lists(one) | st.dictionaries(st.text(), one) | st.tuples(one, one),
    max_leaves=8,
)


@given(PLAIN)
def test_plain_objects_arrive_as_they_were(value: Any) -> None:
    assert put_together(*taken_apart(value)) == value


def test_tensors_and_kinds_of_torch_arrive_as_they_were() -> None:
    x = torch.ones(2)
    value = {
        "x": [x, (x, None)],
        "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
        "size": torch.Size([2, 3]),
        "slice": slice(1, None),
        "ordered": OrderedDict(a=1),
        "set": {1, 2},
    }
    back = put_together(*taken_apart(value))
    assert back["x"][0] is x
    assert back["x"][1][0] is x
    assert {key: back[key] for key in value if key != "x"} == {key: value[key] for key in value if key != "x"}


def test_what_models_return_arrives() -> None:
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    posterior = AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(x))
    assert torch.equal(put_together(*taken_apart(posterior)).latent_dist.mean, posterior.latent_dist.mean)
    assert put_together(*taken_apart(DecoderOutput(sample=x))).sample is x
    pooled = put_together(*taken_apart(BaseModelOutputWithPooling(last_hidden_state=x, pooler_output=x)))
    assert pooled.pooler_output is x
    cache = DynamicCache()
    cache.update(x, x + 1, 0)
    assert torch.equal(put_together(*taken_apart(cache)).layers[0].values, x + 1)


class Attack:
    """Pickles as a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ((os.system, "true"), "system"),
        ((eval, "1"), "eval"),
        ((getattr, "", "join"), "getattr"),
        ((__import__, "this"), "__import__"),
        ((torch.load, "x"), "load"),
        ((torch.hub.load, "x", "y"), "load"),
        ((partial, print), "partial"),
        ((Fraction, 1, 2), "Fraction"),
        ((deque, []), "deque"),
        ((defaultdict, list), "defaultdict"),
        ((torch.nn.Linear, 1, 1), "Linear"),
    ],
)
def test_nothing_else_is_read(call: tuple[Any, ...], name: str) -> None:
    body = pickle.dumps({"hidden": [Attack(*call)]})
    with pytest.raises(tk.RunError, match=rf"a \S+{name} between ranks: only containers, numbers, text, tensors"):
        put_together(body, [])


def test_a_module_is_not_imported_because_a_message_names_it() -> None:
    assert "this" not in sys.modules
    with pytest.raises(tk.RunError, match=r"a this\.s between ranks"):
        put_together(b"cthis\ns\n.", [])
    # A dotted name could reach what a module has imported.
    with pytest.raises(tk.RunError, match=r"a torch\.os\.system between ranks"):
        put_together(b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93.", [])
    assert "this" not in sys.modules
