"""Moments of parts of a map, merged into those of the whole: group normalisation where no one holds the whole map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from toolkit.errors import PlanError

_PIECE = 16384
"""Values of a group whose deviations are held at a time: they stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Count, mean and squared deviation of parts of a map, for each sample and group.

    These three merge without loss of digits (Chan, Golub, LeVeque 1979); the mean of variances is not the variance of
    the whole, and the difference of sums of squares loses in fp32 what the mean is large against.

    Attributes:
        count: values under each mean.
        mean: ``b g``, fp32 or wider.
        m2: sum of squared deviations from that mean, ``b g``.

    Example:
        >>> ramp = torch.arange(12.0).view(1, 2, 6)
        >>> parts = [moments_of(part, groups=1) for part in ramp.split([5, 1], dim=-1)]
        >>> whole = Moments.merge(parts)
        >>> whole.count, whole.mean.item(), round(whole.variance.item(), 4)
        (12, 5.5, 11.9167)
    """

    count: int
    mean: Tensor
    m2: Tensor

    @property
    def variance(self) -> Tensor:
        """The variance of what was counted, as normalisation takes it: over the count, not one less."""
        return self.m2 / self.count

    @classmethod
    def merge(cls, parts: Sequence[Moments]) -> Moments:
        """The moments of all parts together, merged in the order given: the order decides the last bits.

        Raises:
            PlanError: where there is no part, or none of them counts anything.
        """
        counted = [part for part in parts if part.count]
        if not counted:
            raise PlanError(f"{len(parts)} parts that count nothing: moments need at least one value.")
        whole = counted[0]
        for part in counted[1:]:
            whole = whole._with(part)
        return whole

    def _with(self, other: Moments) -> Moments:
        count = self.count + other.count
        delta = other.mean - self.mean
        # Ratios of counts are formed by Python, in double precision.
        mean = self.mean + delta * (other.count / count)
        return Moments(count, mean, self.m2 + other.m2 + delta * delta * (self.count * other.count / count))

    def packed(self) -> Tensor:
        """Mean and M2 as one tensor ``2 b g``, to be sent; counts follow from shapes, which every rank knows."""
        return torch.stack((self.mean, self.m2))

    @classmethod
    def unpacked(cls, count: int, packed: Tensor) -> Moments:
        """The moments that :meth:`packed` made."""
        return cls(count, packed[0], packed[1])


def moments_of(x: Tensor, groups: int) -> Moments:
    """The moments of ``x``, for each sample and group of channels.

    Args:
        x: ``b c *``; may be empty along any dim behind the channels.
        groups: groups of consecutive channels, as in GroupNorm.

    Raises:
        PlanError: where the channels do not divide into the groups.
    """
    if groups < 1 or x.shape[1] % groups:
        raise PlanError(f"groups={groups} for {x.shape[1]} channels: channels must divide evenly into groups.")
    values, wide = rearrange(x, "b (g c) ... -> b g (c ...)", g=groups), _wide(x)
    count = values.shape[-1]
    if not count:
        nothing = torch.zeros(values.shape[:2], dtype=wide, device=x.device)
        return Moments(0, nothing, nothing.clone())
    if x.device.type != "cpu":
        variance, mean = torch.var_mean(values.to(wide), dim=-1, correction=0)
        return Moments(count, mean, variance * count)
    return _in_two_passes(values, wide)


def _in_two_passes(values: Tensor, wide: torch.dtype) -> Moments:
    """Moments along the last dim, a piece at a time: no second copy of the map, and vectorised, as var_mean is not.

    Deviations are taken from the mean of the first pass, and their own mean, which rounding leaves, is taken out of
    both (the corrected two-pass algorithm; Chan, Golub, LeVeque 1983).
    """
    count = values.shape[-1]
    mean = values.mean(-1, keepdim=True, dtype=wide)
    squares, rest = (torch.zeros(values.shape[:-1], dtype=torch.float64) for _ in range(2))
    for piece in values.split(_PIECE, -1):
        deviation = piece.to(wide) - mean
        squares += torch.linalg.vecdot(deviation, deviation)
        rest += deviation.sum(-1)
    exact = mean.squeeze(-1).double() + rest / count
    return Moments(count, exact.to(wide), (squares - rest * rest / count).to(wide))


def group_norm_with(
    x: Tensor,
    groups: int,
    moments: Moments,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """GroupNorm of ``x`` by the moments of a larger map, of which ``x`` is a part.

    Args:
        x: ``b c *``.
        groups: groups of consecutive channels.
        moments: mean and variance to normalise by, for each of ``b`` and each group.
        weight: ``c``; None for ones.
        bias: ``c``; None for zeros.
        eps: added to the variance.

    Returns:
        The normalised part, of ``x``'s dtype, computed in fp32 or wider.

    Example:
        >>> x = torch.arange(24.0).view(1, 4, 6)
        >>> bool(torch.allclose(group_norm_with(x, 2, moments_of(x, 2)), F.group_norm(x, 2), atol=1e-6))
        True
    """
    batch, channels = x.shape[:2]
    wide, each = _wide(x), channels // groups
    mean, variance = (repeat(value, "b g -> (b g c)", c=each).to(wide) for value in (moments.mean, moments.variance))
    scale, shift = (None if value is None else value.to(wide).repeat(batch) for value in (weight, bias))
    # Batch normalisation by given statistics is this very operation, in one pass and wide inside for narrow dtypes.
    flat = x.reshape(1, batch * channels, *x.shape[2:])
    return F.batch_norm(flat, mean, variance, scale, shift, training=False, eps=eps).reshape(x.shape)


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
