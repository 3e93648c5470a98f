"""Parcels: what arrives is what was sent, in one block of shared memory."""

from __future__ import annotations

import pytest
import torch
from support import tiny
from support.pipelines import PIPELINES
from torch import nn

from toolkit.cluster.engines.parcel import pack, take_apart, unpack
from toolkit.cluster.engines.shelf import Shelf

FACTOR = 3


def test_tensors_of_every_kind():
    sent = {
        "odd": torch.randn(3, 5, 7)[:, ::2],
        "half": torch.randn(5).to(torch.bfloat16),
        "flags": torch.tensor([True, False, True]),
        "none": torch.empty(0, 4),
        "scalar": torch.tensor(7),
        "weights": nn.Parameter(torch.ones(2), requires_grad=False),
        "sparse": torch.eye(3).to_sparse(),
    }
    got = unpack(pack(sent))
    for name, tensor in sent.items():
        assert got[name].dtype == tensor.dtype
        assert type(got[name]) is type(tensor)
        assert torch.equal(got[name].to_dense() if name == "sparse" else got[name], tensor.to_dense())
    assert not got["weights"].requires_grad


def test_a_model_arrives_whole_with_tied_weights_tied():
    vae = tiny.wan22()
    vae.decoder.tied = vae.decoder.conv_in.weight
    parcel = pack(vae)
    got = unpack(parcel)
    assert all(torch.equal(a, b) for a, b in zip(vae.state_dict().values(), got.state_dict().values(), strict=True))
    assert got.decoder.tied is got.decoder.conv_in.weight
    storages = {p.untyped_storage().data_ptr() for p in got.parameters()}
    assert storages == {parcel.block.tensor.untyped_storage().data_ptr()}


def test_the_sender_keeps_its_own_tensors():
    mine = torch.zeros(4)
    unpack(pack(mine)).add_(1)
    assert not mine.any()


def test_functions_that_cannot_be_imported_go_by_value():
    def scaled(x: int) -> int:
        return x * FACTOR

    namespace: dict = {}
    exec("def typed_in_a_cell(x): return x + 1", namespace)
    assert unpack(pack(namespace["typed_in_a_cell"]))(2) == 3
    assert unpack(pack(scaled))(2) == 6


def test_a_shelf_sends_again_only_what_changed():
    shelf, vae, sent = Shelf(), tiny.kl(), []

    def refer() -> int:
        return shelf.refer(vae, lambda key, parcel: sent.append(key)).key

    first = refer()
    assert (refer(), sent) == (first, [first])
    vae.enable_tiling()
    second = refer()
    with torch.no_grad():
        vae.decoder.conv_in.bias.add_(1)
    third = refer()
    assert sent == [first, second, third]
    assert shelf.stale() == {first, second}
    assert shelf.stale() == set()
    shelf.workers_are_new()
    assert (refer(), sent[-1]) == (third, third)


def test_a_pickle_without_its_tensors_is_small():
    skeleton, tensors = take_apart({"big": torch.zeros(10**6)})
    assert len(skeleton) < 1000
    assert tensors[0].numel() == 10**6


def test_a_generator_comes_as_it_stands():
    generator = torch.Generator().manual_seed(5)
    torch.randn(3, generator=generator)
    copy = unpack(pack({"generator": generator}))["generator"]
    assert torch.equal(torch.randn(4, generator=copy), torch.randn(4, generator=generator))


def test_a_text_encoder_that_was_used_comes_as_it_is():
    """Once it has been asked for hidden states, it holds hooks that no pickle takes."""
    encoder = PIPELINES["qwen_image"].build().text_encoder
    ids = torch.arange(6)[None]
    with torch.no_grad():
        expected = encoder(ids, output_hidden_states=True).hidden_states
        ours = unpack(pack(encoder))(ids, output_hidden_states=True).hidden_states
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


@pytest.mark.parametrize("more", range(4))
def test_a_tensor_of_a_parcel_can_be_saved_and_loaded(tmp_path, more):
    """torch.save wrote a storage whose size is no multiple of its elements', which torch.load refused."""
    found = unpack(pack({"output": torch.arange(3.0), "name": "a" * more}))
    torch.save(found["output"], tmp_path / "output.pt")
    assert torch.load(tmp_path / "output.pt").tolist() == [0, 1, 2]
