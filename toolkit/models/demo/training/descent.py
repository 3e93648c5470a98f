"""What the training programs share: a step, the course of the learning rate, the slow average of weights that ships."""

import math

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def rate_at(step: int, steps: int, warmup: int = 100) -> float:
    """Share of the greatest learning rate at a step: a linear rise, then a cosine to zero."""
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, step: int, decay: float = 0.998) -> None:
    """Moves the slow average of the weights, which is what ships, a little towards the weights."""
    keep = min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1 - keep)


def descend(optimizer: Optimizer, model: nn.Module, average: nn.Module, loss: Tensor, rate: float, step: int) -> float:
    """One step down from a loss, at a learning rate; the average follows. Returns the loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    follow(average, model, step + 1)
    return loss.item()
