"""The shelf: workers get a model again exactly if a byte of it has changed, whoever changed it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers.training_utils import EMAModel
from support import tiny
from torch import nn

import toolkit as tk
from toolkit.cluster.engines.shelf import Shelf


def linear(model: nn.Module) -> nn.Parameter:
    return model.get_parameter("0.weight")


def by_ema(model: nn.Module) -> None:
    """A moving average of other weights, copied over the model's own, as after training."""
    averaged = EMAModel([torch.full_like(parameter, 0.5) for parameter in model.parameters()])
    averaged.copy_to(model.parameters())


def by_numpy(model: nn.Module) -> None:
    linear(model).detach().numpy()[0, 0] += 1.0


def swap_two(model: nn.Module) -> None:
    """The same numbers in another order."""
    weight = linear(model).data
    weight[:2] = weight[[1, 0]].clone()


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "in place": lambda model: linear(model).data.mul_(2.0),
    "a delta, as a merge of LoRA adds it": lambda model: setattr(linear(model), "data", linear(model).data + 1e-6),
    "drawn anew": lambda model: linear(model).data.normal_(),
    "a moving average": by_ema,
    "a numpy view": by_numpy,
    "swapped": swap_two,
    "one bit": lambda model: linear(model).data.view(torch.int32)[0, 0].bitwise_xor_(1),
    "a buffer": lambda model: model.get_buffer("1.running_mean").data.add_(1.0),
    "bfloat16": lambda model: model.to(torch.bfloat16),
    "another shape": lambda model: setattr(model.get_parameter("0.weight"), "data", torch.zeros(2, 8)),
}


def made() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen(change: Callable[[nn.Module], object]) -> None:
    shelf, model, sent = Shelf(), made(), list[int]()
    first = shelf.refer(model, lambda key, parcel: sent.append(key))
    assert shelf.refer(model, lambda key, parcel: sent.append(key)) == first
    change(model)
    second = shelf.refer(model, lambda key, parcel: sent.append(key))
    assert second != first
    assert sent == [first.key, second.key]


def test_weights_that_were_read_again_are_the_same() -> None:
    shelf, model = Shelf(), made()
    first = shelf.refer(model, lambda key, parcel: None)
    model.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    assert shelf.refer(model, pytest.fail) == first


def test_views_strides_and_odd_dtypes_have_contents_too() -> None:
    model, sent = nn.Module(), list[int]()
    base = torch.arange(24.0).reshape(4, 6)
    for name, tensor in {
        "transposed": base.T,
        "conjugated": torch.complex(base, base).conj(),
        "scalar": torch.tensor(True),
        "empty": torch.zeros(0, 3),
        "eighth": base.to(torch.float8_e4m3fn),
    }.items():
        model.register_buffer(name, tensor)
    shelf = Shelf()
    first = shelf.refer(model, lambda key, parcel: sent.append(key))
    assert shelf.refer(model, lambda key, parcel: sent.append(key)) == first
    base[0, 0] = 9.0
    assert shelf.refer(model, lambda key, parcel: sent.append(key)) != first


def test_who_trusts_version_counters_says_so() -> None:
    """The quick way sees operations of torch, and no writes through ``.data``."""
    shelf, model = Shelf("versions"), made()
    first = shelf.refer(model, lambda key, parcel: None)
    linear(model).data.mul_(2.0)
    assert shelf.refer(model, pytest.fail) == first
    with torch.no_grad():
        linear(model).mul_(2.0)
    assert shelf.refer(model, lambda key, parcel: None) != first


def test_a_run_uses_the_weights_that_the_model_has_now() -> None:
    vae, latent = tiny.kl(), tiny.latent("kl", 6, 5)
    with tk.Cluster(2, "cpu") as cluster:
        cluster.decode(vae, latent, progress=False)
        for parameter in vae.parameters():
            parameter.data += 0.05
        run = cluster.decode(vae, latent, progress=False)
    with torch.no_grad():
        expected = vae.decode(latent).sample
    torch.testing.assert_close(run.output, expected, rtol=1e-5, atol=1e-5)


def test_another_way_to_identify_models_is_refused() -> None:
    with pytest.raises(tk.PlanError, match="identify='names': must be 'contents' or 'versions'"):
        tk.Cluster(1, "cpu", identify="names")  # type: ignore[arg-type]
