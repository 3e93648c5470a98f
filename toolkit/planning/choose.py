"""Choosing a plan: every candidate is rehearsed, and the choice says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from tqdm.auto import tqdm

from toolkit.errors import ModelError, NotExact, PlanError
from toolkit.geometry.checks import check_ints
from toolkit.geometry.tile_plan import TilePlan
from toolkit.geometry.topology import Topology, hosts_of
from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.given_shape import given_shape
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.options import Options
from toolkit.models.autoencoders.tiling import input_ratio
from toolkit.models.module_check import check_is_module
from toolkit.models.protocols import Autoencoder
from toolkit.planning.candidates import Candidate, Task
from toolkit.planning.choice import Choice, Limits, Prediction
from toolkit.planning.rehearsing.profile import Profile
from toolkit.planning.rehearsing.profiling import Workers
from toolkit.planning.rehearsing.profiling import profile as measure
from toolkit.planning.rehearsing.rehearse import check_setting, rehearse
from toolkit.planning.tile_error import tile_error

SMALL = (8, 16)
"""Latent cells along h and w of the two inputs whose operators are measured if no profile is given."""

ROUGH = Profile.assume(operations=1e11, bandwidth=1e10)
"""A device by which plans are compared before the first of them is measured."""

CLOSE = 0.15
"""Time or memory that is estimated from other shapes may be off by this part. Plans that may be the quickest if it is
are measured, where there is a cluster."""

MOST_RANKS = 4096
"""The most ranks to choose a plan for. Every candidate is rehearsed on each of its ranks, which takes minutes for as
many. For more, rehearse a plan of your own."""


def plan(
    vae: Autoencoder,
    latent: Tensor | Sequence[int],
    ranks: int,
    memory: float | None = None,
    exact: bool = False,
    *,
    error: float | None = None,
    profile: Profile | None = None,
    cluster: Workers | None = None,
    topology: Topology | None = None,
    direction: DirectionName = "decode",
    arguments: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Choice:
    """Choose how to divide a decode or encode over ranks: the candidate that a rehearsal predicts to be the quickest.

    Candidates are the model's own call, exact shards in every shape, and tiles: the class's own, larger ones, and
    where nothing in the model is global, exact ones. Each is rehearsed. Dividing has to gain 3 % of the time, and
    tiles have to gain as much over a plan that is exact; otherwise the answer is the simpler one.

    Args:
        vae: A diffusers autoencoder. It is left as it was found; with a profile and without ``error``, weights are not
            used.
        latent: The input of the call, or its shape.
        ranks: Number of ranks.
        memory: The most bytes that any rank may hold, the model's weights included; None: no limit.
        exact: Whether the result must equal that of the whole input, to rounding.
        error: The largest difference from the model's own call that tiles may have, as a part of the call's largest
            value. It is measured on the middle of the input, so that must be given, not its shape. None: no limit, and
            nothing is measured.
        profile: What operators cost, from :func:`toolkit.profile`, best measured on a cluster of as many ranks. None:
            the operators of two small inputs are measured in this process, and times are estimated from them.
        cluster: Where to measure what the profile lacks of the plans that may be the quickest, in their own shapes,
            until it is known which that is. None: what it lacks is estimated.
        topology: The hosts of the ranks, and the links between them; None: the profile's link between all. Shards are
            tried in blocks, and tiles dealt out, so that little is sent between hosts.
        direction: The model call to make. For encode, ``latent`` is the sample.
        arguments: Further arguments of the call.
        progress: Whether to show a progress bar.

    Returns:
        The plan, with its reason and the predictions that it rests on. A plan of None means not to divide the work.

    Raises:
        PlanError: If no candidate fits the limits, with the numbers; if there is less than one rank; or if the profile
            is of another type of device than the cluster.

    Example:
        >>> from toolkit.models import demo
        >>> slow = Profile.assume(operations=1e10, bandwidth=1e10)
        >>> choice = plan(demo.image_vae(), (1, 16, 32, 48), ranks=2, profile=slow)
        >>> choice.plan
        ShardPlan(1 x 2 shards, borders exchanged, attention gathered)
        >>> choice.table()["verdict"].tolist()[:2], choice.under(memory=60e6).plan == choice.plan
        (['chosen', '1.01 x the time'], True)
    """
    check_ints(1, most=MOST_RANKS, ranks=ranks)
    check_is_module("vae", vae)
    check_setting(profile, topology)
    if cluster is not None and profile is not None and profile.device != cluster.device.type:
        raise PlanError(
            f"a profile of {profile.device} with a cluster of {cluster.device.type}: what is measured there cannot "
            "extend it. Leave out profile= or cluster=."
        )
    if topology is not None:
        hosts_of(topology, ranks)
    limits = Limits(memory, exact, error)
    if error is not None and not isinstance(latent, Tensor):
        raise PlanError(f"error={error} with a shape: tiles are tried on the input. Give the input itself.")
    shape = given_shape("latent", latent.shape if isinstance(latent, Tensor) else latent)
    call = ModelCall(Direction.of(direction), Options(arguments=arguments or {}, seed=0))
    task = Task(vae, shape, call, ranks, topology)
    costs = profile or (_measured_small(task) if cluster is None else replace(ROUGH, device=cluster.device.type))
    candidates = list(task.candidates())

    def predicted(costs: Profile) -> list[Prediction]:
        bar = tqdm(candidates, desc="rehearsing", unit="plan", leave=False, disable=not progress)
        return [_predicted(task, candidate, costs) for candidate in bar]

    predictions = predicted(costs)
    while cluster is not None and (unsure := _estimated(predictions, limits)):
        profile = costs = _measured(task, unsure, profile, cluster)
        predictions = predicted(costs)
    if error is not None and isinstance(latent, Tensor):
        predictions = [_with_error(one, task, latent) for one in predictions]
    return Choice.of(
        tuple(predictions),
        limits,
        ranks=ranks,
        weights=_weights(task),
        notes=task.notes,
        guessed=profile is None and cluster is None,
        profile=costs,
    )


def _estimated(predictions: Sequence[Prediction], limits: Limits) -> list[Prediction]:
    """The plans that may be the quickest within the limits, and are not measured in all their operators."""
    # Errors are measured for the last of the predictions only.
    limits = replace(limits, error=None)
    roughly = limits if limits.memory is None else replace(limits, memory=(1 + CLOSE) * limits.memory)
    fitting = [one for one in predictions if not one.breaks(roughly if one.estimated else limits)]
    quickest = min((one.seconds for one in fitting), default=0.0)
    return [one for one in fitting if one.estimated and one.seconds <= (1 + CLOSE) * quickest]


def _measured(task: Task, predictions: Sequence[Prediction], known: Profile | None, cluster: Workers) -> Profile:
    """A profile with all operators of these plans, measured by a cluster's ranks."""
    return measure(
        task.vae,
        task.shape,
        [one.plan for one in predictions],
        cluster=cluster,
        known=known,
        direction=task.call.direction.value,
        options=task.call.options,
    )


def _measured_small(task: Task) -> Profile:
    """A profile of the operators of two small inputs, measured in this process: they tell how costs grow."""
    ratio = input_ratio(task.vae, task.call.direction.value)
    device = next(task.vae.parameters()).device.type
    known = None
    for side in SMALL:
        known = measure(
            task.vae,
            (*task.shape[:-2], *(min(side * ratio, size) for size in task.shape[-2:])),
            device=None if device == "meta" else device,
            known=known,
            direction=task.call.direction.value,
            options=task.call.options,
        )
    assert known is not None
    return known


def _weights(task: Task) -> int:
    """Bytes of the model's weights."""
    return sum(parameter.nbytes for parameter in task.vae.parameters())


def _predicted(task: Task, candidate: Candidate, costs: Profile) -> Prediction:
    """Rehearse a candidate."""
    try:
        rehearsal = rehearse(
            task.vae,
            task.shape,
            candidate.plan,
            profile=costs,
            topology=task.topology,
            direction=task.call.direction.value,
            options=task.call.options,
        )
    except (PlanError, ModelError, NotExact) as refusal:
        return Prediction(candidate.name, candidate.plan, candidate.exact, refused=str(refusal))
    return Prediction(
        candidate.name,
        candidate.plan,
        candidate.exact,
        seconds=rehearsal.seconds,
        peak=int(rehearsal.peaks.max()) + _weights(task),
        bytes=int(rehearsal.messages["bytes"].sum()),
        error=0.0 if candidate.exact else None,
        estimated=rehearsal.estimated,
    )


def _with_error(prediction: Prediction, task: Task, x: Tensor) -> Prediction:
    """A prediction with the error of its tiles, measured on a part of the input."""
    if prediction.exact or prediction.refused or not isinstance(prediction.plan, TilePlan):
        return prediction
    return replace(prediction, error=tile_error(task.vae, x, prediction.plan, task.call))
