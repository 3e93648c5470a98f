"""Stages run one after the other, and what their results are compared by."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from toolkit.geometry.stage_split import StageSplit
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.stage import Stage


def tensors(output: Any) -> list[Tensor]:
    """The tensors of an output, in order."""
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def same(a: Any, b: Any) -> bool:
    """Whether two outputs are equal bit by bit, and hold something."""
    a, b = tensors(a), tensors(b)
    return 0 < len(a) == len(b) and all(x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(a, b, strict=True))


def splits_of(transformer: Any) -> Iterator[StageSplit]:
    """Every cut in two stages, and each layer a stage."""
    layers = len(layers_of(transformer))
    yield from (StageSplit.at([cut], layers) for cut in range(1, layers))
    yield StageSplit.even(layers, layers)


@torch.no_grad()
def chain(transformer: Any, split: StageSplit, *args: Any, **kwargs: Any) -> Any:
    """All stages, each on its own arguments' values: what a stage writes to them does not reach the next."""
    passed = None
    for span in split.stages:
        own_args, own_kwargs = pytree.tree_map_only(Tensor, torch.clone, (args, kwargs))
        receive = None if span.start == 0 else partial(lambda payload: payload, passed)
        passed = Stage(transformer, span)(receive, *own_args, **own_kwargs)
    return passed
