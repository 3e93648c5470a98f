"""What the toolkit uses of a model: the part of diffusers' classes that its functions rely on.

Models are not subclassed, so these are protocols: any object with these members will do. Attributes that only some
classes have (``use_tiling``, a scheduler, tables of layers) are read where they are needed, behind a check.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Autoencoder(Protocol):
    """An autoencoder of diffusers, or a module that looks like one.

    Attributes:
        config: The arguments that its constructor was called with, as attributes and by key.
    """

    @property
    def config(self) -> Any:
        """The constructor's arguments; ``spatial_compression_ratio`` and the like are looked up here."""

    def decode(self, z: Tensor, /, **arguments: Any) -> Any:
        """Decode a latent, ``b c h w`` or ``b c t h w``, to a sample or an object that holds one."""

    def encode(self, x: Tensor, /, **arguments: Any) -> Any:
        """Encode a sample to an object that holds a posterior or a latent."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights; the first one's device and dtype count as the model's."""

    def modules(self) -> Iterator[nn.Module]:
        """The model and all modules in it."""


class Transformer(Protocol):
    """A diffusion transformer: a ``torch.nn.Module`` whose ``forward`` loops over its layers.

    Attributes:
        config: The arguments that its constructor was called with.
    """

    @property
    def config(self) -> Any:
        """The constructor's arguments, ``num_attention_heads`` among them."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Predict noise, velocity or sample for a latent."""

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """The direct children; lists of layers are among them."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """All modules with their paths."""

    def get_submodule(self, target: str) -> nn.Module:
        """The module at a path."""


class Pipeline(Protocol):
    """A pipeline of diffusers.

    Attributes:
        components: Its modules, schedulers and tokenizers by name.
    """

    @property
    def components(self) -> dict[str, Any]:
        """Modules, schedulers and tokenizers by name; None for those it was made without."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the whole loop of denoising."""
