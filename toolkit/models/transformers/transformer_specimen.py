"""A diffusion transformer in small, with random weights and inputs for its call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.geometry.shard_plan import even_parts
from toolkit.models.diffusers_compat import model_named


@dataclass(frozen=True, slots=True)
class TransformerSpecimen:
    """One transformer in small.

    Attributes:
        name: The specimen's name.
        cls: The name of its class in diffusers.
        depth: The parameters of its constructor that count layers; several if it has lists of different kinds.
        config: The arguments of its constructor.
        call: The function that makes the arguments of its call from random numbers. At twice the scale, latents are
            twice as high and wide.
    """

    name: str
    cls: str
    depth: tuple[str, ...]
    config: Mapping[str, Any]
    call: Callable[[int], dict[str, Any]]

    def build(self, layers: int | None = None, seed: int = 0) -> Any:
        """Make the model in eval mode, with noise on all parameters: none is zero or one, so none hides what it gates.

        Args:
            layers: Number of layers over all lists (Latte: pairs of them). None: as many as the configuration says.
            seed: Seed of the weights.

        Example:
            >>> from toolkit.models.transformers.layers import layers_of
            >>> from toolkit.models.transformers.transformer_census import transformer
            >>> layers_of(transformer("Flux").build(layers=3))
            ('transformer_blocks.0', 'transformer_blocks.1', 'single_transformer_blocks.0')
        """
        counts = {} if layers is None else dict(zip(self.depth, even_parts(layers, len(self.depth)), strict=True))
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # from diffusers, about its own imports
            torch.manual_seed(seed)
            model = model_named(self.cls)(**{**self.config, **counts})
            for parameter in model.parameters():
                parameter.data.add_(torch.randn_like(parameter) * 0.05)
        return model.eval().requires_grad_(False)

    def inputs(self, scale: int = 1, seed: int = 1) -> dict[str, Any]:
        """Make the arguments of the model's call, by name; the call returns tensors without an output class around."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return {**self.call(scale), "return_dict": False}
