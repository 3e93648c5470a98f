"""Rehearsing a call: every rank's script is written, and the scripts are played together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.decoding import run_as
from toolkit.distributed.modes import fit
from toolkit.errors import PlanError
from toolkit.geometry.plan import Plan, or_none, or_whole
from toolkit.geometry.topology import Topology
from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.options import OptionFields, Options
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.convolution import Convolutions
from toolkit.planning.rehearsing.fake_tensors_compat import device_without_data, fake_copy, without_data
from toolkit.planning.rehearsing.known_values import KnownValues
from toolkit.planning.rehearsing.profile import Profile
from toolkit.planning.rehearsing.rehearsal import Rehearsal, rehearsal_of
from toolkit.planning.rehearsing.scribe import write_script
from toolkit.planning.rehearsing.script import Script
from toolkit.runs.record import Record


def rehearse(
    model: Autoencoder,
    input_or_shape: Tensor | Sequence[int],
    plan: Plan | None = None,
    *,
    profile: Profile | None = None,
    topology: Topology | None = None,
    direction: DirectionName = "decode",
    device: str | None = None,
    convolutions: Convolutions = "onednn",
    options: Options | None = None,
    **changes: Unpack[OptionFields],
) -> Rehearsal:
    """Predict the time, memory and messages of every rank of a call, without data and without other ranks.

    Each rank's own code runs, on tensors that have shapes but no values. So messages are those of a run, to the byte,
    and what a run would refuse is refused here, in the same words. Time and kernels' own memory come from a profile.

    Args:
        model: A diffusers autoencoder. It is left as it was found. Its weights are not used: a model on the device
            ``meta`` will do (``with torch.device("meta"): AutoencoderKLWan()``).
        input_or_shape: The input of the call, or its shape.
        plan: How the work is divided; None: the model's own call.
        profile: What operators cost, from ``tk.profile``; None: only tensors' memory and messages are predicted.
        topology: The links between ranks; None: the profile's link between all ranks, or links that take no time.
        direction: The model call to make. For encode, the input is the sample.
        device: The type of device that the ranks have; None: the profile's, or the model's. It need not exist here.
        convolutions: The kernels of small fp32 CPU convolutions.
        options: How the model is called; None: :class:`toolkit.Options` with its defaults.
        **changes: Fields of :class:`toolkit.Options` by name; they replace those of ``options``.

    Raises:
        PlanError: If the plan does not fit the input.
        ModelError: If the mode is not known to be right for the class, or what the model does depends on data.
        NotExact: If an operation cannot be sharded exactly; names the operation and the module.

    Example:
        >>> from diffusers import AutoencoderKLWan
        >>> from toolkit.geometry import ShardPlan
        >>> with torch.device("meta"):
        ...     wan = AutoencoderKLWan(base_dim=32)
        >>> rehearsal = rehearse(wan, (1, 16, 1, 90, 160), ShardPlan(h=2))
        >>> rehearsal.messages[["sender", "receiver", "messages"]].values.tolist()
        [[0, 1, 36], [1, 0, 37]]
    """
    way, call = or_whole(plan), ModelCall(Direction.of(direction), Options.of(options, changes))
    shape = _shape_of(input_or_shape)
    found = fit(model, shape, plan=way, call=call)
    kind = _device(model, device, profile)
    where = device_without_data(kind)
    if topology is not None and topology.ranks < way.ranks:
        raise PlanError(f"the plan is for {way.ranks} ranks, the topology has {topology.ranks}: give a larger one.")
    scripts = [
        _script(model, shape, way, call, rank=rank, device=where, convolutions=convolutions) for rank in way.working
    ]
    link = None if profile is None else profile.link
    links = Topology(1, way.ranks) if link is None else Topology(1, way.ranks, within=link)
    record = Record.make(
        model,
        {"shape": list(shape), "dtype": str(next(model.parameters()).dtype)},
        plan=or_none(way),
        what={"call": f"rehearse {call.direction.value}", "device": kind, "convolutions": convolutions},
    )
    return rehearsal_of(
        scripts, plan=way, record=record, ratio=found.ratio, profile=profile, topology=topology or links
    )


def _script(
    model: Autoencoder,
    shape: tuple[int, ...],
    plan: Plan,
    call: ModelCall,
    *,
    rank: int,
    device: torch.device,
    convolutions: Convolutions,
) -> Script:
    """Write the script of one rank."""
    values = KnownValues()
    with without_data():
        # A copy for each rank: a rank leaves traces in a model, such as a scheduler's place in its timesteps.
        copy, alike = fake_copy(model, device, values), fake_copy(call, device, values)
        # Ranks get the input in host memory.
        x = torch.empty(shape, dtype=next(model.parameters()).dtype)

        def act(acting: Rank) -> Tensor | None:
            return run_as(acting, copy, x, plan, alike)

        return write_script(act, rank=rank, size=plan.ranks, device=device, convolutions=convolutions, values=values)


def _shape_of(given: Tensor | Sequence[int]) -> tuple[int, ...]:
    if isinstance(given, Tensor):
        return tuple(given.shape)
    try:
        shape = tuple(int(size) for size in given)
    except (TypeError, ValueError):
        raise PlanError(f"input_or_shape={given!r}: give the input of the call, or its shape.") from None
    if not shape or min(shape) < 1:
        raise PlanError(f"input_or_shape={given!r}: every size of a shape is at least 1.")
    return shape


def _device(model: Any, device: str | None, profile: Profile | None) -> str:
    if device is not None and profile is not None and device != profile.device:
        raise PlanError(f"device={device!r} with a profile of {profile.device}: leave out device=.")
    held = next(model.parameters()).device.type
    kind = device or (profile.device if profile is not None else "cpu" if held == "meta" else held)
    return kind
