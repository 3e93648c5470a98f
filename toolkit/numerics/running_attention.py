"""Attention over keys that arrive in blocks: no one ever holds them all."""

from __future__ import annotations

import math

import torch
from torch import Tensor

QUERIES = 1024
"""Queries scored at a time: bounds the scores in memory."""


class RunningAttention:
    """Softmax attention of fixed queries over blocks of keys and values, in fp32 (online softmax).

    The result does not depend on how the keys are cut, but for rounding (Milakov and Gimelshein 2018).

    Args:
        query: ``... n d``.
        width: size of a value.
        scale: of the scores; None for ``1 / sqrt(d)``.

    Example:
        >>> q, k, v = torch.randn(3, 1, 1, 5, 8, generator=torch.Generator().manual_seed(0))
        >>> running = RunningAttention(q, width=8)
        >>> for part in range(0, 5, 2):
        ...     running.add(k[..., part : part + 2, :], v[..., part : part + 2, :])
        >>> whole = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        >>> bool(torch.allclose(running.result(), whole, atol=1e-6))
        True
    """

    def __init__(self, query: Tensor, width: int, scale: float | None = None) -> None:
        self._query = query
        self._scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        shape, wide = query.shape[:-1], torch.float64 if query.dtype == torch.float64 else torch.float32
        self._top = torch.full((*shape, 1), -math.inf, dtype=wide, device=query.device)
        self._weight = torch.zeros_like(self._top)
        self._sum = torch.zeros((*shape, width), dtype=wide, device=query.device)

    def add(self, key: Tensor, value: Tensor, rows: slice = slice(None)) -> None:
        """Attend over a block of keys and values as well, ``... m d`` and ``... m width``.

        Args:
            key: the block's keys.
            value: the block's values.
            rows: which queries attend to it.
        """
        first, last, _ = rows.indices(self._query.shape[-2])
        # Wide from the first product on: a narrow score is off by more than attention can take.
        key, value = key.to(self._sum.dtype).transpose(-1, -2), value.to(self._sum.dtype)
        for start in range(first, last, QUERIES):
            part = slice(start, min(start + QUERIES, last))
            top, weight, total = self._top[..., part, :], self._weight[..., part, :], self._sum[..., part, :]
            scores = self._query[..., part, :].to(key.dtype) @ key * self._scale
            peak = torch.maximum(top, scores.amax(-1, keepdim=True))
            scores = (scores - peak).exp_()
            kept = (top - peak).exp_()
            weight.mul_(kept).add_(scores.sum(-1, keepdim=True))
            total.mul_(kept).add_(scores @ value)
            top.copy_(peak)

    def result(self) -> Tensor:
        """The attention so far, in the query's dtype."""
        return (self._sum / self._weight).to(self._query.dtype)
