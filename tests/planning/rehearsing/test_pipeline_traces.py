"""What a rehearsal of a pipeline needs and leaves behind: no weights from a folder, and nothing."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from support.pipelines import PIPELINES
from support.staged import plans
from torch import nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

import toolkit as tk
from toolkit.bench.rehearsal_accuracy import sent
from toolkit.distributed.stages.thread_state import ThreadState
from toolkit.numerics.tensor_compat import dispatch_modes, function_modes, version_of
from toolkit.planning.rehearsing.rehearse import rehearse

TWO = tk.Schedule.interleaved(2, branches=1)
SHORT = {"num_inference_steps": 1, "guidance_scale": 1.0}


@pytest.fixture(scope="module")
def pipe():
    one = PIPELINES["wan"].build()
    one.transformer.blocks = one.transformer.blocks[:2]
    return one


def surroundings() -> dict[str, Any]:
    """What a process has beside models."""
    return {
        "threads": [thread.name for thread in threading.enumerate() if thread.name.startswith("toolkit-")],
        "modes": (dispatch_modes(), function_modes(), is_in_torch_dispatch_mode()),
        "settings": ThreadState.current(),
        "random numbers": torch.get_rng_state().tolist(),
    }


def content(value: Any) -> Any:
    """What is in a container: hooks, sub-modules, a scheduler's earlier outputs."""
    values = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(key, id(one)) for key, one in values]


def state(pipe: Any) -> dict[str, Any]:
    """Everything in a pipeline that a rehearsal could change, by identity.

    All but the tokenizers: those note down how they padded last, and are not copied.
    """
    found: dict[str, Any] = {"pipeline": {name: id(value) for name, value in vars(pipe).items()}}
    for name, part in pipe.components.items():
        if "tokenizer" in name:
            continue
        for path, one in part.named_modules() if isinstance(part, nn.Module) else [("", part)]:
            held = vars(one) if hasattr(one, "__dict__") else {}
            found[f"{name} {path}"] = {key: (id(value), content(value)) for key, value in held.items()}
        tensors = part.state_dict() if isinstance(part, nn.Module) else {}
        found[f"{name}, weights"] = {key: (x.data_ptr(), version_of(x), x.device) for key, x in tensors.items()}
    return found


def raising(at: int) -> Any:
    """A callback that raises when it is called for the n-th time, on whichever rank that is."""
    seen = []

    def step(pipe, i, t, kwargs):
        seen.append(i)
        if len(seen) == at:
            raise KeyError(f"call {at}")
        return kwargs

    return step


CALLS = {
    "whole": lambda pipe: (None, {}),
    "stages": lambda pipe: (plans(pipe, TWO), {}),
    "latents": lambda pipe: (plans(pipe, TWO), {"latents": torch.ones(1, 4, 3, 4, 6)}),
    "requests": lambda pipe: (
        plans(pipe, tk.Schedule.requests(2, 1, requests=2)),
        {"requests": [{"generator": torch.Generator().manual_seed(seed)} for seed in (1, 2)]},
    ),
}


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("whole", 0),
        ("whole", 1),
        ("stages", 0),
        ("stages", 2),
        ("latents", 1),
        ("requests", 0),
        ("requests", 1),
        ("requests", 3),
    ],
)
def test_everything_is_left_as_it_was(pipe, capfd, name, at):
    plan, more = CALLS[name](pipe)
    call = PIPELINES["wan"].call(callback_on_step_end=raising(at), **SHORT | more)
    generators = [call["generator"], *(one["generator"] for one in call.get("requests", ()))]
    before = state(pipe), surroundings(), [one.get_state().tolist() for one in generators], dict(call)
    with pytest.raises(KeyError, match=f"call {at}") if at else nullcontext():
        rehearse(pipe, plan=plan, **call)
    after = state(pipe), surroundings(), [one.get_state().tolist() for one in generators], dict(call)
    assert all(x is y for x, y in zip(before[-1].values(), after[-1].values(), strict=True))
    assert after[:-1] == before[:-1]
    if "latents" in more:
        assert more["latents"].eq(1).all()
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize(("name", "staged"), [("flux", True), ("wan_a14b", False)])
def test_a_folder_without_weights_is_rehearsed_like_its_pipeline(tmp_path, name, staged):
    tiny = PIPELINES[name]
    pipe, folder = tiny.build(), tiny.save(tmp_path)
    weights = list(Path(folder).rglob("*.safetensors"))
    assert len(weights) > 3
    for file in weights:
        file.unlink()
    plan, call = plans(pipe, TWO) if staged else None, tiny.call(**SHORT, output_type="np" if staged else "latent")
    own, saved = (rehearse(one, plan=plan, **call) for one in (pipe, folder))
    assert sent(saved) == sent(own)
    assert [script.steps for script in saved.scripts] == [script.steps for script in own.scripts]
    assert saved.peaks.tolist() == own.peaks.tolist()
    half = rehearse(folder, plan=plan, load={"dtype": torch.bfloat16}, **call)
    assert half.peaks.max() < saved.peaks.max()
    assert (saved.record.input["pipeline"], own.record.input["pipeline"]) == (str(folder), tiny.cls)
