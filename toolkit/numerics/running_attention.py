"""Attention over keys that arrive in blocks, so that no rank has to hold all of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

QUERIES = 1024
"""Number of queries computed at a time. It limits the memory for the scores."""


class RunningAttention:
    """Softmax attention of fixed queries over blocks of keys and values (online softmax), in fp32 or wider.

    The result does not depend on how the keys are divided into blocks, except for rounding (Milakov and Gimelshein
    2018). For each query, this class keeps the largest score so far (``top``), and relative to it the sum of the
    exponentials (``weight``) and of the exponentials times the values (``sum``). When a block raises the largest score,
    both sums are scaled down to the new one.

    Args:
        query: The queries, ``... n d``.
        width: Size of a value.
        scale: Factor of the scores; None for ``1 / sqrt(d)``.

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
        """Add a block of keys and values.

        Args:
            key: The keys, ``... m d``.
            value: The values, ``... m width``.
            rows: The queries that attend to this block.
        """
        first, last, _ = rows.indices(self._query.shape[-2])
        # Widen before the first product: the rounding of scores in a narrow dtype is too much after the exponential.
        key, value = key.to(self._sum.dtype).transpose(-1, -2), value.to(self._sum.dtype)
        for start in range(first, last, QUERIES):
            part = slice(start, min(start + QUERIES, last))
            # Views: the in-place operations below update the state of these queries.
            top, weight, total = self._top[..., part, :], self._weight[..., part, :], self._sum[..., part, :]
            scores = self._query[..., part, :].to(key.dtype) @ key * self._scale
            peak = torch.maximum(top, scores.amax(-1, keepdim=True))
            scores = (scores - peak).exp_()
            # In the first block, top is -inf: the factor is 0, and the empty sums stay 0.
            kept = (top - peak).exp_()
            weight.mul_(kept).add_(scores.sum(-1, keepdim=True))
            total.mul_(kept).add_(scores @ value)
            top.copy_(peak)

    def result(self) -> Tensor:
        """The attention over all blocks so far, in the dtype of the queries."""
        return (self._sum / self._weight).to(self._query.dtype)
