"""Paced transformers: every block takes a given time, so that schedules can be timed without the devices.

A stage that computes keeps a core busy, and if there are more stages than cores they slow each other down. A stage that
waits needs no core: many ranks on a small machine then take as long as that many devices of a known speed would. Order,
messages and results are real; only the time that a block takes is made up.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from toolkit.models.transformers.layers import layers_of


@dataclass(slots=True)
class Pace:
    """Stretches a module's call: notes when it begins, and waits at its end.

    Attributes:
        seconds: Duration of the call, its own computing included.
    """

    seconds: float
    _begin: float = 0.0

    def start(self, module: nn.Module, args: Any) -> None:
        """Note the time; a hook before forward."""
        self._begin = time.monotonic()

    def end(self, module: nn.Module, args: Any, output: Any) -> None:
        """Wait for the rest of the time; a hook after forward."""
        left = self._begin + self.seconds - time.monotonic()
        time.sleep(max(left, 0.0))


def pace(transformer: nn.Module, seconds: float) -> list[RemovableHandle]:
    """Make every layer of a transformer take ``seconds``, its computing included, or longer if that takes longer.

    The hooks travel with the transformer to the workers of a cluster.

    Args:
        transformer: The model to slow down.
        seconds: Duration of each layer's call.

    Returns:
        The hooks; ``remove()`` of each restores the transformer.

    Example:
        >>> import torch
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> specimen = transformer("Wan")
        >>> wan, inputs, begin = specimen.build(layers=4), specimen.inputs(), time.monotonic()
        >>> hooks = pace(wan, 0.05)
        >>> with torch.no_grad():
        ...     paced = wan(**inputs)[0]
        >>> time.monotonic() - begin >= 0.2
        True
        >>> for hook in hooks:
        ...     hook.remove()
        >>> with torch.no_grad():
        ...     torch.equal(paced, wan(**inputs)[0])
        True
    """
    hooks = []
    for name in layers_of(transformer):
        block, beat = transformer.get_submodule(name), Pace(seconds)
        hooks += [block.register_forward_pre_hook(beat.start), block.register_forward_hook(beat.end)]
    return hooks
