"""What the training programs share: the course of the learning rate, and the slow average of the weights that ships."""

import math

import torch
from torch import nn


def rate_at(step: int, steps: int, warmup: int = 100) -> float:
    """Share of the greatest learning rate at a step: a linear rise, then a cosine to zero."""
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, step: int, decay: float = 0.998) -> None:
    """Moves the slow average of the weights, which is what ships, a little towards the weights."""
    keep = min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1 - keep)
