"""Paced transformers: every block takes a given time, so that schedules can be timed without the devices.

A stage that computes keeps a core busy, and more stages than cores share them. One that waits needs none: many ranks on
a small machine then take as long as so many devices of a known speed would. Order, messages and results are the real
ones; the time that a block takes is made up.
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
    """Makes a module's call last: notes when it begins, and waits at its end.

    Attributes:
        seconds: what the call takes, its own computing included.
    """

    seconds: float
    _begin: float = 0.0

    def start(self, module: nn.Module, args: Any) -> None:
        """A hook before forward."""
        self._begin = time.monotonic()

    def end(self, module: nn.Module, args: Any, output: Any) -> None:
        """A hook after forward."""
        left = self._begin + self.seconds - time.monotonic()
        time.sleep(max(left, 0.0))


def pace(transformer: nn.Module, seconds: float) -> list[RemovableHandle]:
    """Let every layer of a transformer take ``seconds``, its computing included; longer where that is.

    The hooks go with the transformer to the workers of a cluster.

    Returns:
        The hooks: call ``remove()`` of each to have the transformer as it was.

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
