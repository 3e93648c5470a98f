"""Merge the moments of parts of a map, for group normalisation where no rank holds the whole map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from toolkit.errors import PlanError
from toolkit.numerics.memory_format import memory_format_of

_PIECE = 65536
"""Number of values that are processed at a time. Their deviations fit into the CPU cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Count, mean and sum of squared deviations (M2) of a part of a map, for each sample and group.

    These three can be merged without a loss of precision (Chan, Golub, LeVeque 1979). The alternatives are wrong: the
    mean of the parts' variances is not the variance of the whole, and ``E[x^2] - E[x]^2`` cancels in fp32 if the mean
    is large compared with the deviation.

    Attributes:
        count: Number of values per sample and group.
        mean: Their mean, ``b g``, in fp32 or wider.
        m2: Sum of their squared deviations from the mean, ``b g``.

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
        """The variance as normalisation uses it: divided by the count, not by the count minus one."""
        return self.m2 / self.count

    @classmethod
    def merge(cls, parts: Sequence[Moments]) -> Moments:
        """Merge the moments of all parts, in the given order. The order affects the last bits.

        Raises:
            PlanError: If there are no parts, or all are empty.
        """
        counted = [part for part in parts if part.count]
        if not counted:
            raise PlanError(f"all {len(parts)} parts are empty: moments need at least one value.")
        whole = counted[0]
        for part in counted[1:]:
            whole = whole._with(part)
        return whole

    def _with(self, other: Moments) -> Moments:
        count = self.count + other.count
        delta = other.mean - self.mean
        # Each part's M2 is about its own mean. About the common mean, the sum grows by delta^2 n m / (n + m). Ratios of
        # counts are Python floats, in double precision.
        mean = self.mean + delta * (other.count / count)
        return Moments(count, mean, self.m2 + other.m2 + delta * delta * (self.count * other.count / count))

    def packed(self) -> Tensor:
        """Mean and M2 as one tensor ``2 b g`` to send. Every rank knows the shapes, and so the counts."""
        return torch.stack((self.mean, self.m2))

    @classmethod
    def unpacked(cls, count: int, packed: Tensor) -> Moments:
        """The inverse of :meth:`packed`."""
        return cls(count, packed[0], packed[1])


def moments_of(x: Tensor, groups: int) -> Moments:
    """The moments of ``x``, for each sample and group of channels.

    Args:
        x: The values, ``b c *``. Any dim after the channels may be empty.
        groups: Number of groups of consecutive channels, as in GroupNorm.

    Raises:
        PlanError: If the number of channels is not divisible by the number of groups.
    """
    if groups < 1 or x.shape[1] % groups:
        raise PlanError(
            f"groups={groups} for {x.shape[1]} channels: the number of groups must divide that of channels."
        )
    wide, count = _wide(x), x.shape[1] // groups * math.prod(x.shape[2:])
    if not count:
        nothing = torch.zeros((len(x), groups), dtype=wide, device=x.device)
        return Moments(0, nothing, nothing.clone())
    if x.device.type != "cpu":
        values = rearrange(x, "b (g c) ... -> b g (c ...)", g=groups)
        variance, mean = torch.var_mean(values.to(wide), dim=-1, correction=0)
        return Moments(count, mean, variance * count)
    if memory_format_of(x) is torch.contiguous_format:
        return _by_group_norm(x.contiguous(), groups, count=count)
    return _by_channel(x.movedim(1, -1).flatten(1, -2), groups)


def _by_group_norm(x: Tensor, groups: int, *, count: int) -> Moments:
    """Moments of a contiguous map on a CPU, by the statistics that torch's own normalisation returns beside its result.

    That is the fastest way there: other kernels need twice the time or a second copy of the map.
    """
    batch, channels = x.shape[:2]
    # Statistics come back in the dtype of the weights, so narrow maps get weights in single precision.
    weight, bias = (torch.ones(channels), torch.zeros(channels)) if x.element_size() == 2 else (None, None)
    _, mean, rate = torch.native_group_norm(x, weight, bias, batch, channels, math.prod(x.shape[2:]), groups, 0.0)
    # The rate is one over the standard deviation, because eps is 0; without any deviation it is infinite.
    return Moments(count, mean, (rate.double().pow(-2) * count).to(mean.dtype))


def _by_channel(rows: Tensor, groups: int) -> Moments:
    """Moments of a channels-last map on a CPU, given as ``b n c`` in its own memory order: no copy of it is made.

    torch's own statistics of such maps are differences of large squares, and cancel. This is the corrected two-pass
    algorithm (Chan, Golub, LeVeque 1983): the first pass computes the means, the second sums the deviations from them.
    A mean is rounded, so the deviations do not sum to exactly 0. That rest corrects both the mean and M2. It is done
    for each channel; then a group is merged from its channels.
    """
    batch, length, channels = rows.shape
    mean = rows.mean(1, keepdim=True, dtype=_wide(rows))
    squares, rest = (torch.zeros((batch, channels), dtype=torch.float64) for _ in range(2))
    for piece in rows.split(max(1, _PIECE // channels), 1):
        deviation = piece.to(mean.dtype) - mean
        rest += deviation.sum(1)
        squares += deviation.square_().sum(1)
    means = rearrange(mean.squeeze(1).double() + rest / length, "b (g c) -> b g c", g=groups)
    within = rearrange(squares - rest * rest / length, "b (g c) -> b g c", g=groups)
    variance, middle = torch.var_mean(means, dim=-1, correction=0)
    count = length * means.shape[-1]
    return Moments(count, middle.to(mean.dtype), (within.sum(-1) + variance * count).to(mean.dtype))


def group_norm_with(
    x: Tensor,
    groups: int,
    *,
    moments: Moments,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """GroupNorm of ``x``, a part of a larger map, with the moments of the whole map.

    Args:
        x: The part, ``b c *``.
        groups: Number of groups of consecutive channels.
        moments: The moments of the whole map, for each sample and group.
        weight: Scale per channel, ``c``; None for ones.
        bias: Shift per channel, ``c``; None for zeros.
        eps: Constant added to the variance.

    Returns:
        The normalised part, in the dtype of ``x``, computed in fp32 or wider.

    Example:
        >>> x = torch.arange(24.0).view(1, 4, 6)
        >>> bool(torch.allclose(group_norm_with(x, 2, moments=moments_of(x, 2)), F.group_norm(x, 2), atol=1e-6))
        True
    """
    batch, channels = x.shape[:2]
    wide, each = _wide(x), channels // groups
    mean, variance = (repeat(value, "b g -> (b g c)", c=each).to(wide) for value in (moments.mean, moments.variance))
    scale, shift = (None if value is None else value.to(wide).repeat(batch) for value in (weight, bias))
    # Batch normalisation with given statistics is the same operation if each channel of each sample is a channel. It
    # takes one pass, and computes in fp32 inside for narrow dtypes.
    if batch == 1 or memory_format_of(x) is torch.contiguous_format:
        flat = x.reshape(1, batch * channels, *x.shape[2:])
        return F.batch_norm(flat, mean, variance, scale, shift, training=False, eps=eps).reshape(x.shape)
    # In channels-last maps, the channels of two samples do not lie beside each other.
    out = torch.empty_like(x)
    for one in range(batch):
        mine = slice(one * channels, (one + 1) * channels)
        a, b = (None if value is None else value[mine] for value in (scale, shift))
        out[one : one + 1] = F.batch_norm(x[one : one + 1], mean[mine], variance[mine], a, b, training=False, eps=eps)
    return out


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
