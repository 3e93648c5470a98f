"""All stages in one process: what runs on many ranks, for a notebook without any."""

from __future__ import annotations

from functools import partial, wraps
from typing import Any

from torch import nn

from toolkit.errors import PlanError
from toolkit.geometry.checks import shown
from toolkit.geometry.stage_plan import StagePlan
from toolkit.geometry.stage_split import StageSplit
from toolkit.models.module_check import check_is_module
from toolkit.models.transformers.ghost import stand_in
from toolkit.models.transformers.split_check import prove
from toolkit.models.transformers.splittable import check_fits, check_splittable
from toolkit.models.transformers.stage import run_stages


def virtual(plan: StagePlan | StageSplit, transformer: nn.Module) -> Any:
    """Make a transformer that runs in stages, one after the other in this process.

    It can take the transformer's place in a pipeline. It is a shallow copy that shares all sub-modules, so weights,
    adapters and hooks of the one are those of the other. The transformer itself stays as it is.

    Its ``prove(*args, **kwargs)`` takes the transformer's arguments. It runs the transformer whole and in stages, and
    returns a :class:`~toolkit.models.transformers.proof.Proof`, or raises; see
    :func:`~toolkit.models.transformers.split_check.prove`.

    Args:
        plan: The layers in stages. Only the split of a plan matters here.
        transformer: A transformer of diffusers, or a module with its layers in lists that its forward loops over.

    Raises:
        PlanError: If the split is of another number of layers.
        ModelError: If the transformer's layers cannot be read, or it is in a state that stages cannot serve.

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
    if not isinstance(plan, StagePlan | StageSplit):
        raise PlanError(
            f"plan={shown(plan)}: must be a StagePlan or a StageSplit, such as StageSplit.even(30, stages=4)."
        )
    split = plan.split
    check_is_module("transformer", transformer)
    check_splittable(transformer)
    check_fits(split, transformer)

    # The signature stays readable: pipelines look whether their transformer takes an argument.
    @wraps(transformer.forward)
    def forward(*args: Any, **kwargs: Any) -> Any:
        check_splittable(staged)  # a cache may have been enabled since
        return run_stages(transformer, split, args=args, kwargs=kwargs)

    staged = stand_in(transformer, forward)
    staged.prove = partial(prove, transformer, split)
    return staged
