"""What the training programs share: a step, the learning rate's schedule, and the slow average of weights to ship."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def rate_at(step: int, steps: int, *, warmup: int = 100) -> float:
    """Return the fraction of the largest learning rate at a step: a linear warm-up, then a cosine to zero.

    Args:
        step: The step, from 0.
        steps: Length of the schedule.
        warmup: Length of the warm-up.

    Example:
        >>> round(rate_at(49, 1000), 3), rate_at(1000, 1000)
        (0.497, 0.0)
    """
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, *, step: int, decay: float = 0.998) -> None:
    """Move the slow average of the weights, which is what ships, a little towards the weights."""
    # Early on the average follows quickly, so that it forgets the untrained weights.
    keep = min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1 - keep)


def descend(
    optimizer: Optimizer, model: nn.Module, *, average: nn.Module, loss: Tensor, rate: float, step: int
) -> float:
    """Take one step down from a loss, let the average follow, and return the loss.

    Args:
        optimizer: The optimizer of the model's weights.
        model: The model that learns.
        average: The slow average of its weights.
        loss: The loss to go down from.
        rate: Learning rate.
        step: The step, from 0.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    follow(average, model, step=step + 1)
    return loss.item()
