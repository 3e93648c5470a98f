"""Making a profile: rehearse, and measure the operators that the rehearsals meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import mean, median
from typing import Any, Protocol

import torch
from torch import Tensor

from toolkit.errors import PlanError
from toolkit.geometry.plan import Plan
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.stage_plan import Plans
from toolkit.geometry.topology import Topology
from toolkit.models import demo
from toolkit.planning.rehearsing.profile import Crowd, OperatorCost, Profile
from toolkit.planning.rehearsing.rank_places import on_first, place_of_rank, with_room
from toolkit.planning.rehearsing.rehearsal import Rehearsal
from toolkit.planning.rehearsing.rehearse import rehearse
from toolkit.planning.rehearsing.script import Compute, Script, operators_of
from toolkit.planning.rehearsing.stopwatch import (
    SMALL,
    measure_link,
    measure_operators,
    measure_pace,
    measure_shards,
    small_pipeline_call,
    small_plan,
)
from toolkit.runs.device import device_of_rank
from toolkit.runs.surroundings import Surroundings

ROWS = 16
"""Rows of each shard, and columns, of the latent by which the cost of messages is measured."""
LARGEST = 8
"""Number of operators, the largest ones, by which it is measured what ranks cost each other."""
TIMES = 3
"""How often that is measured, for each number of ranks in turn: a machine may be busy for a second."""


class Workers(Protocol):
    """Processes that measure: a ``tk.Cluster``."""

    @property
    def ranks(self) -> int:
        """Number of processes."""

    @property
    def device(self) -> torch.device:
        """Their type of device."""

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
        device: The type of device; None: the cluster's, or the machine's accelerator where there is one.
        cluster: Where to measure, with the ranks' own settings: on as many ranks at the same time as have a processor
            or an accelerator each; and then, on 1, 2, 3 ... ranks, what they cost each other. None: this process alone.
        known: A profile to extend: only what it lacks is measured.
        **call: The call that will be rehearsed, as :func:`toolkit.rehearse` takes it.

    Raises:
        PlanError: If what is known is of another type of device, or the plan does not fit.

    Example:
        >>> from toolkit.models import demo
        >>> vae = demo.image_vae()
        >>> measured = profile(vae, (1, 16, 8, 8), device="cpu")
        >>> rehearsal = rehearse(vae, (1, 16, 8, 8), profile=measured)
        >>> rehearsal.estimated, 0 < rehearsal.seconds < 10
        (0.0, True)
    """
    kind = device or (device_of_rank(0) if cluster is None else cluster.device).type
    if known is not None and known.device != kind:
        raise PlanError(f"known is a profile of {known.device}, measured is {kind}: give device={known.device!r}.")
    plans = list(plan) if isinstance(plan, Sequence) else [plan]
    scripts = [script for one in plans for script in rehearse(model, input_or_shape, one, device=kind, **call).scripts]
    measuring = 1 if cluster is None else with_room(cluster.run(place_of_rank, kind))
    everywhere = _everywhere(cluster, measuring)
    around = {script.around for script in scripts}
    if known is None and cluster is not None and cluster.ranks > 1:
        around.add("ruled_call")  # what messages cost is measured by shards
    found = _lacking(everywhere, scripts, known or Profile(kind), around)
    if known is not None:
        return found
    record = {
        "versions": dict(Surroundings().versions),
        "machine": dict(Surroundings().machine),
        "measured at the same time by": measuring,
        "threads": torch.get_num_threads() if cluster is None else "the cluster's",
    }
    if cluster is not None and cluster.ranks > 1:
        found = _with_crowds(cluster, found, scripts, measuring)
        found = _with_link(cluster, everywhere, found)
    return replace(found, record=record)


_Everywhere = Callable[..., list[Any]]


def _everywhere(cluster: Workers | None, count: int) -> _Everywhere:
    """Call a function on so many ranks of the cluster; or here, if there is none."""
    if cluster is None:
        return lambda function, *args: [function(*args)]
    return lambda function, *args: cluster.run(on_first, count, function, *args)[:count]


def _lacking(everywhere: _Everywhere, scripts: Sequence[Script], known: Profile, around: Iterable[str] = ()) -> Profile:
    """A profile with what it lacks: operators of scripts, and what the host does around operators."""
    kind = known.device
    small = {one: _small_call(one, kind) for one in sorted(around) if getattr(known.host, one) is None}
    every = [*scripts, *(script for one in small.values() for script in one.scripts)]
    calls = {key: call for key, call in operators_of(every).items() if not known.knows(key)}
    answers = everywhere(measure_operators, calls, list(small), kind)
    costs = {
        key: OperatorCost(mean(cost[key].seconds for cost, _ in answers), max(cost[key].bytes for cost, _ in answers))
        for key in calls
    }
    full = known.extended(Profile(kind, costs, {key: call.work for key, call in calls.items()}))
    host = {one: _host_cost(full, script, median(t[one] for _, t in answers)) for one, script in small.items()}
    return replace(full, host=full.host._replace(**host))


def _small_call(around: str, kind: str) -> Rehearsal:
    """A rehearsal of the small call by which it is measured what the host does around operators."""
    if around == "pipeline_call":
        return rehearse(demo.pipeline(), device=kind, **small_pipeline_call())
    return rehearse(demo.image_vae(), SMALL, small_plan(around), device=kind)


def _host_cost(known: Profile, small: Rehearsal, taken: float) -> float:
    """The seconds of the host around each operator: those of a small call, less its operators by themselves."""
    steps = [step for step in small.scripts[0].steps if isinstance(step, Compute)]
    alone = sum(known.operators[step.key].seconds for step in steps)
    return max(0.0, (taken - alone) / sum(step.calls for step in steps))


def _with_crowds(cluster: Workers, known: Profile, scripts: Sequence[Script], measuring: int) -> Profile:
    """A profile with how much slower, or quicker, operators are where so many ranks compute at the same time."""
    found = operators_of(scripts)
    seconds = {key: known.operators[key].seconds for key in found}
    largest = {key: found[key] for key in sorted(found, key=seconds.__getitem__)[-LARGEST:]}

    def pace(count: int) -> float:
        """The pace of each of so many ranks, on average."""
        everywhere = _everywhere(cluster, count)
        return mean(everywhere(measure_pace, largest, seconds, known.device))

    counts = sorted({*_counts(cluster.ranks), measuring})
    rounds = [{count: pace(count) for count in counts} for _ in range(TIMES)]
    # In each round by itself, because the speed of a shared machine drifts.
    slowness = {count: median(one[measuring] / one[count] for one in rounds) for count in counts}
    return replace(known, crowds={count: Crowd(one) for count, one in slowness.items()})


def _with_link(cluster: Workers, everywhere: _Everywhere, known: Profile) -> Profile:
    """A profile with the link between ranks, and what a message costs where so many of them send."""
    full = replace(known, link=cluster.run(measure_link, known.device)[0])
    posts = {count: _post(cluster, everywhere, full, count) if count > 1 else None for count in full.crowds}
    crowds = {count: crowd._replace(post=posts[count]) for count, crowd in full.crowds.items()}
    return replace(full, crowds=crowds, host=full.host._replace(post=posts[cluster.ranks]))


def _counts(ranks: int) -> list[int]:
    """Numbers of ranks to measure: all up to 4, then every power of two, and all ranks.

    Example:
        >>> _counts(3), _counts(12)
        ([1, 2, 3], [1, 2, 3, 4, 8, 12])
    """
    powers = [2**power for power in range(3, ranks.bit_length())]
    return sorted({*range(1, min(ranks, 4) + 1), *powers, ranks})


def _post(cluster: Workers, everywhere: _Everywhere, known: Profile, count: int) -> float:
    """What a message costs so many ranks: the time of a call on shards, less all else in it."""
    plan, shape = ShardPlan(h=count), (1, 16, ROWS * count, ROWS)
    rehearsed = rehearse(demo.image_vae(), shape, plan, device=known.device)
    full = _lacking(everywhere, rehearsed.scripts, known)
    free = replace(full, host=full.host._replace(post=None))
    assert full.link is not None
    expected = rehearsed.with_profile(free, Topology(1, count, full.link)).seconds
    taken = max(cluster.run(measure_shards, shape, plan, known.device))
    posted = max(sum(len(post.crossings) for post in script.posts()) for script in rehearsed.scripts)
    return max(0.0, (taken - expected) / posted)
