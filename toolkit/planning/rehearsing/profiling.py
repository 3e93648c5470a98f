"""Making a profile: rehearse, and measure the operators that the rehearsals meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any, Protocol

import torch
from torch import Tensor

from toolkit.geometry.plan import Plan
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.stage_plan import Plans
from toolkit.geometry.topology import Link
from toolkit.models import demo
from toolkit.planning.rehearsing.operator_call import OperatorCall
from toolkit.planning.rehearsing.profile import HostCost, OperatorCost, Profile
from toolkit.planning.rehearsing.rehearse import rehearse
from toolkit.planning.rehearsing.script import Compute, operators_of
from toolkit.planning.rehearsing.stopwatch import (
    SMALL,
    measure_call,
    measure_link,
    measure_operators,
    measure_pipeline_call,
    small_pipeline_call,
)
from toolkit.runs.device import device_of_rank
from toolkit.runs.surroundings import Surroundings


class Workers(Protocol):
    """Processes that measure: a ``tk.Cluster``."""

    @property
    def ranks(self) -> int:
        """Number of processes."""

    @property
    def run(self) -> Callable[..., list[Any]]:
        """Calls a function on every rank."""


def profile(
    model: Any,
    input_or_shape: Tensor | Sequence[int] | None = None,
    plan: Plan | Plans | Sequence[Plan | Plans | None] | None = None,
    *,
    device: str | None = None,
    cluster: Workers | None = None,
    known: Profile | None = None,
    **call: Any,
) -> Profile:
    """Measure what the operators of a call cost on this machine's device, each by itself, in its own shape.

    No weights are needed and no rank computes the whole call: a device that holds one operator's tensors will do.

    Args:
        model: A diffusers autoencoder or pipeline, as :func:`toolkit.rehearse` takes it.
        input_or_shape: The input of an autoencoder's call, or its shape.
        plan: The plan that will be rehearsed, or several; None: the model's own call.
        device: The type of device; None: the machine's accelerator where there is one.
        cluster: Where to measure: all of its ranks measure at the same time, with their own settings. So a profile
            contains what ranks that share a processor cost each other. None: this process alone.
        known: A profile to extend: only what it lacks is measured.
        **call: The call that will be rehearsed, as :func:`toolkit.rehearse` takes it.

    Example:
        >>> from toolkit.models import demo
        >>> vae = demo.image_vae()
        >>> measured = profile(vae, (1, 16, 8, 8), device="cpu")
        >>> rehearsal = rehearse(vae, (1, 16, 8, 8), profile=measured)
        >>> rehearsal.estimated, 0 < rehearsal.seconds < 10
        (0.0, True)
    """
    kind = device or device_of_rank(0).type
    plans = list(plan) if isinstance(plan, Sequence) else [plan]
    wanted: dict[str, OperatorCall] = {}
    for one in plans:
        given = rehearse(model, input_or_shape, one, device=kind, **call)
        wanted |= operators_of(given.scripts)
    missing = {key: call for key, call in wanted.items() if known is None or not known.knows(key)}
    everywhere = _everywhere(cluster)
    found = _measured(everywhere, missing, kind)
    if known is not None:
        return known.extended(found)
    link, post = _link(cluster, kind)
    host = HostCost(*_host(everywhere, kind), post)
    record = {
        "versions": dict(Surroundings().versions),
        "machine": dict(Surroundings().machine),
        "measured at the same time by": 1 if cluster is None else cluster.ranks,
        "threads": torch.get_num_threads() if cluster is None else "the cluster's",
    }
    return replace(found, host=host, link=link, record=record)


_Everywhere = Callable[..., list[Any]]


def _everywhere(cluster: Workers | None) -> _Everywhere:
    """Call a function on every rank of the cluster; or here, if there is none."""
    return (lambda function, *args: [function(*args)]) if cluster is None else cluster.run


def _measured(everywhere: _Everywhere, calls: dict[str, OperatorCall], kind: str) -> Profile:
    answers = everywhere(measure_operators, calls, kind)
    costs = {
        key: OperatorCost(
            median(answer[key].seconds for answer in answers), max(answer[key].bytes for answer in answers)
        )
        for key in calls
    }
    return Profile(kind, costs, {key: call.work for key, call in calls.items()})


def _host(everywhere: _Everywhere, kind: str) -> tuple[float, float, float]:
    """Seconds of the host around each operator: in an autoencoder's own call, in shards, and in a pipeline.

    Each is a small call, less its operators measured by themselves.
    """
    vae, pipe = demo.image_vae(), demo.pipeline()
    small = [
        (rehearse(vae, SMALL, device=kind), partial(everywhere, measure_call, None, kind)),
        (rehearse(vae, SMALL, ShardPlan(), device=kind), partial(everywhere, measure_call, ShardPlan(), kind)),
        (rehearse(pipe, device=kind, **small_pipeline_call()), partial(everywhere, measure_pipeline_call, kind)),
    ]
    costs = _measured(everywhere, operators_of([script for one, _ in small for script in one.scripts]), kind).operators
    found = []
    for rehearsed, measure in small:
        steps = [step for step in rehearsed.scripts[0].steps if isinstance(step, Compute)]
        alone = sum(costs[step.key].seconds for step in steps)
        found.append(max(0.0, (median(measure()) - alone) / sum(step.calls for step in steps)))
    own, ruled, piped = found
    return own, ruled, piped


def _link(cluster: Workers | None, kind: str) -> tuple[Link | None, float]:
    if cluster is None or cluster.ranks < 2:
        return None, 0.0
    link, post = cluster.run(measure_link, kind)[0]
    return link, post
