"""All stages in one process: what runs on many ranks, for a notebook without any."""

from __future__ import annotations

from functools import partial, wraps
from typing import Any

from torch import nn

from toolkit.geometry.stage_plan import StagePlan
from toolkit.geometry.stage_split import StageSplit
from toolkit.models.transformers.ghost import stand_in
from toolkit.models.transformers.split_check import prove
from toolkit.models.transformers.splittable import check_fits, check_splittable
from toolkit.models.transformers.stage import run_stages


def virtual(plan: StagePlan | StageSplit, transformer: nn.Module) -> Any:
    """A transformer that runs in stages, one after the other in this process.

    It takes the transformer's place in a pipeline: a shallow copy that shares all sub-modules, so weights, adapters and
    hooks of the one are those of the other. The transformer itself stays as it is.

    Its ``prove(*args, **kwargs)``, called as the transformer is, is
    :func:`~toolkit.models.transformers.split_check.prove`: it runs whole and in stages, and returns a
    :class:`~toolkit.models.transformers.split_check.Proof`, or raises.

    Args:
        plan: the layers in stages. Of a plan, only its split matters here.
        transformer: of diffusers, or with its layers in lists that its forward loops over.

    Raises:
        PlanError: for a split of another number of layers.
        ModelError: for a transformer whose layers cannot be read, or in a state that stages cannot serve.

    Example:
        >>> import torch
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> specimen = transformer("Wan")
        >>> wan, inputs = specimen.build(), specimen.inputs()
        >>> staged = virtual(StageSplit.even(layers=4, stages=3), wan)
        >>> with torch.no_grad():
        ...     torch.equal(staged(**inputs)[0], wan(**inputs)[0])
        True
        >>> staged.prove(**inputs)
        WanTransformer3DModel in StageSplit(4 layers in 3 stages: 2 1 1): equal bit by bit
          compared    1x4x2x8x8 float32
          stage 0->1  1x32x64 float32: 8192 bytes
          stage 1->2  1x32x64 float32: 8192 bytes
          latents     needed by the first stage
    """
    split = plan.split
    check_splittable(transformer)
    check_fits(split, transformer)

    @wraps(transformer.forward)
    def forward(*args: Any, **kwargs: Any) -> Any:
        check_splittable(staged)
        return run_stages(transformer, split, args, kwargs)

    staged = stand_in(transformer, forward)
    staged.prove = partial(prove, transformer, split)
    return staged
