"""A borrowed model comes back exactly as it was, whatever its class, also where a tile fails."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.configuration_utils import ConfigMixin

import toolkit as tk
from toolkit.models.autoencoders.census import CENSUS
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.small_tiles import with_small_tiles


def everything_in(vae) -> list[tuple[Any, dict[str, Any]]]:
    """All attributes of all submodules and of a scheduler, lists and tensors by what they hold."""
    holders = list(vae.modules())
    holders += [value for module in holders for value in vars(module).values() if isinstance(value, ConfigMixin)]
    return [(holder, {key: (value, _inside(value)) for key, value in vars(holder).items()}) for holder in holders]


def _inside(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    return dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else None


def same(before: Any, after: Any) -> bool:
    if isinstance(before, torch.Tensor):
        return torch.equal(before, after)
    return before == after if not isinstance(before, dict) else before.keys() == after.keys()


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("name", CENSUS)
def test_left_as_found(name, used):
    """A fresh model, or one in the state in which its own call leaves it, caches and all."""
    specimen = CENSUS[name]
    vae, latent = with_small_tiles(specimen), specimen.latent(4, 3)
    grid = tk.TileGrid.cover({"h": 4, "w": 3}, tile=3, overlap=1)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, 1))

    def decode() -> None:
        tk.distributed.decode(vae, latent, plan, arguments=specimen.call, seed=1)

    if used:
        with torch.no_grad():
            ModelCall("decode", tk.Options(arguments=specimen.call, seed=1))(vae, latent)
    calls = []

    def fails(*_: Any) -> None:
        calls.append(None)
        if len(calls) > 1:
            raise ZeroDivisionError

    part = getattr(vae, "decoder", None) or vae.decoder_unet
    hook = list(part.children())[-1].register_forward_hook(fails)
    found = everything_in(vae)
    with pytest.raises(ZeroDivisionError):
        decode()
    left = everything_in(vae)
    assert [holder for holder, _ in left] == [holder for holder, _ in found]
    for (_, before), (holder, after) in zip(found, left, strict=True):
        assert before.keys() == after.keys()
        for key, (value, inside) in before.items():
            assert after[key][0] is value, (type(holder), key)
            assert same(inside, after[key][1]), (type(holder), key)
    hook.remove()
    decode()
