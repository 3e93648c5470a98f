"""Rehearsing a call of a model: ``tk.rehearse``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from toolkit.errors import PlanError
from toolkit.geometry.checks import check_kind
from toolkit.geometry.plan import Plan
from toolkit.geometry.stage_plan import Plans
from toolkit.geometry.topology import Topology
from toolkit.numerics.convolution import Convolutions
from toolkit.planning.rehearsing.profile import Profile
from toolkit.planning.rehearsing.rehearsal import Rehearsal
from toolkit.planning.rehearsing.rehearse_autoencoder import rehearse_autoencoder
from toolkit.planning.rehearsing.rehearse_pipeline import rehearse_pipeline
from toolkit.runs.device import named_device


def rehearse(
    model: Any,
    input_or_shape: Tensor | Sequence[int] | None = None,
    plan: Plan | Plans | None = None,
    *,
    profile: Profile | None = None,
    topology: Topology | None = None,
    device: str | None = None,
    convolutions: Convolutions = "onednn",
    **call: Any,
) -> Rehearsal:
    """Predict the time, memory and messages of every rank of a call, without data and without other ranks.

    Each rank's own code runs, on tensors that have shapes but no values. So messages are those of a run, to the byte,
    and what a run would refuse is refused here, in the same words. Time and kernels' own memory come from a profile.

    While a plan with ``sp`` is rehearsed, torch lists process groups that stand for its ranks, and a default group if
    the process has none: do not start process groups meanwhile.

    Args:
        model: A diffusers autoencoder or pipeline, or the folder of a pipeline. It is left as it was found. Weights are
            not used: a model on the device ``meta`` will do (``with torch.device("meta"): AutoencoderKLWan()``), and
            none are read from a folder.
        input_or_shape: The input of an autoencoder's call, or its shape. Leave it out for a pipeline, whose call says
            what it computes.
        plan: How the work is divided; None: the model's own call.
        profile: What operators cost, from ``tk.profile``; None: only tensors' memory and messages are predicted.
        topology: The links between ranks; None: the profile's link between all ranks, or links that take no time.
        device: The type of device that the ranks have; None: the profile's, or the model's. It need not exist here.
        convolutions: The kernels of small fp32 CPU convolutions.
        **call: For an autoencoder: ``direction="encode"`` for the other model call, whose input is the sample;
            ``stream=True`` if the output is handed over in bands; ``options`` and the fields of
            :class:`toolkit.Options`, as for ``cluster.decode``. When a band is complete depends on times; without a
            profile all ranks are assumed to be equally fast. For a pipeline: its own arguments, ``requests=`` and
            ``load=``, as for ``cluster.generate``.

    Raises:
        PlanError: If the plan does not fit the input or the pipeline.
        ModelError: If the mode is not known to be right for the class, or what the model does depends on data.
        NotExact: If an operation cannot be sharded exactly; names the operation and the module.

    Example:
        >>> import torch
        >>> from diffusers import AutoencoderKLWan
        >>> from toolkit.geometry import ShardPlan
        >>> with torch.device("meta"):
        ...     wan = AutoencoderKLWan(base_dim=32)
        >>> rehearsal = rehearse(wan, (1, 16, 1, 90, 160), ShardPlan(h=2))
        >>> rehearsal.messages[["sender", "receiver", "messages"]].values.tolist()
        [[0, 1, 34], [1, 0, 35]]

        A pipeline's call in two stages:

        >>> from toolkit.geometry import Schedule, StagePlan, StageSplit
        >>> from toolkit.models import demo
        >>> plan = StagePlan(StageSplit.even(8, 2), Schedule.interleaved(2, branches=2))
        >>> call = demo.call(num_inference_steps=1, output_type="latent")
        >>> rehearse(demo.pipeline(), plan=plan, **call)
        Rehearsal(1x16x4x8x8 by 2 stages over 2 ranks, peak 0 MB without kernels' own memory; no profile, so no times)
    """
    check_setting(profile, topology)
    if device is not None:
        named_device(device)
    if hasattr(model, "decode") and hasattr(model, "parameters"):
        if input_or_shape is None:
            raise PlanError("input_or_shape=None: give the input of the autoencoder's call, or its shape.")
        if isinstance(plan, Mapping):
            raise PlanError(f"plan={plan!r} for an autoencoder: several plans are for the transformers of a pipeline.")
        return rehearse_autoencoder(
            model, input_or_shape, plan, profile=profile, topology=topology, device=device, convolutions=convolutions,
            **call,
        )  # fmt: skip
    if input_or_shape is not None:
        raise PlanError("input_or_shape for a pipeline: leave it out, and give the pipeline's own arguments by name.")
    return rehearse_pipeline(
        model, plan, profile=profile, topology=topology, device=device, convolutions=convolutions, **call
    )


def check_setting(profile: Profile | None, topology: Topology | None) -> None:
    """Refuse a profile or a topology that is none.

    Raises:
        PlanError: With what to give instead.

    Example:
        >>> check_setting(None, 3)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: topology=3: must be a tk.Topology, or None for the profile's link.
    """
    if profile is not None:
        check_kind("profile", profile, kind=Profile, remedy="a profile that tk.profile returns, or None")
    if topology is not None:
        check_kind("topology", topology, kind=Topology, remedy="a tk.Topology, or None for the profile's link")
