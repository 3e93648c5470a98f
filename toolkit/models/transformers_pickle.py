"""Models of transformers between processes: made anew there, with the tensors that they have here.

Such a model cannot simply be pickled: what its outputs may record is noted when it is made, in a table of the process,
and hooks that record them hold what no pickle can.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def recipe_of(value: Any) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """How to make a model of transformers again, as pickle wants it; None for anything else.

    None also for a model with other weights than its class and configuration make, as with adapters: it is pickled as
    it is.
    """
    # Not imported by us: it takes seconds, and a process without it has no such model.
    library = sys.modules.get("transformers.modeling_utils")
    if library is None or not isinstance(value, library.PreTrainedModel):
        return None
    tensors = _tensors(value)
    if _tensors(_blank(type(value), value.config)).keys() != tensors.keys():
        return None
    return make, (type(value), value.config, tensors, value.training)


def make(cls: type[Any], config: Any, tensors: dict[str, Tensor], training: bool) -> Any:
    """A model of a class and configuration that has given parameters and buffers."""
    model = _blank(cls, config)
    for name, tensor in tensors.items():
        parent, _, leaf = name.rpartition(".")
        module = model.get_submodule(parent)
        (module._parameters if isinstance(tensor, nn.Parameter) else module._buffers)[leaf] = tensor
    return model.train(training)


def _blank(cls: type[Any], config: Any) -> Any:
    with torch.device("meta"):
        return cls(config)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    weights = dict(model.named_parameters(remove_duplicate=False))
    return {**weights, **dict(model.named_buffers(remove_duplicate=False))}
