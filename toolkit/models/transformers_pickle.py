"""Models of transformers on their way between processes: made again at the other end, with the tensors they have here.

Such a model cannot simply be pickled. When it is made, transformers notes in a table of the process which of its
outputs can be recorded, and puts hooks on the model that record them. The hooks hold objects that cannot be pickled. So
the model's class, configuration and tensors are sent, and the receiver makes the model again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.models.transformers_compat import is_transformers_model


def reduced(value: Any) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """Return how to make a model of transformers again, in the form that ``__reduce__`` returns.

    Args:
        value: Any object on its way into a pickle.

    Returns:
        A function and its arguments. None for anything but a model of transformers, and for a model with other weights
        than its class and configuration make (one with adapters): it is pickled as it is.
    """
    if not is_transformers_model(value):
        return None
    tensors = _tensors(value)
    if _tensors(_blank(type(value), value.config)).keys() != tensors.keys():
        return None
    return make, (type(value), value.config, tensors, value.training)


def make(cls: type[Any], config: Any, tensors: dict[str, Tensor], training: bool) -> Any:
    """Make a model of a class and configuration that has the given parameters and buffers.

    Args:
        cls: The model's class.
        config: Its configuration.
        tensors: Its parameters and buffers by path.
        training: Whether it was in training mode.
    """
    model = _blank(cls, config)
    for name, tensor in tensors.items():
        parent, _, leaf = name.rpartition(".")
        # Assigned, not copied: the tensor itself, shared memory included, takes the place of the one on meta. The
        # module keeps it as what it was registered as, and a name in two places is set twice, so ties stay.
        setattr(model.get_submodule(parent), leaf, tensor)
    return model.train(training)


def _blank(cls: type[Any], config: Any) -> Any:
    """A model without memory: no weights are drawn only to be replaced."""
    with torch.device("meta"):
        return cls(config)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by path, those that are tied under each of their names."""
    weights = dict(model.named_parameters(remove_duplicate=False))
    return {**weights, **dict(model.named_buffers(remove_duplicate=False))}
