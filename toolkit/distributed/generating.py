"""Generate: an unmodified pipeline over the ranks of a process group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

from torch.distributed import ProcessGroup

from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Groups, Member
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.agenda import Agenda
from toolkit.distributed.stages.assembly import Assembly
from toolkit.distributed.stages.elsewhere import Left
from toolkit.distributed.stages.engine import PURPOSES
from toolkit.distributed.stages.hybrid import sharers
from toolkit.distributed.stages.places import Places
from toolkit.distributed.stages.requests import Requests
from toolkit.errors import PlanError
from toolkit.geometry.stage_plan import Plans, StagePlan, plans_by_name
from toolkit.models.protocols import Pipeline
from toolkit.models.transformers.pipeline_parts import experts_of
from toolkit.numerics.convolution import Convolutions
from toolkit.runs.trace import Recorder


def generate(
    pipe: Pipeline,
    plan: StagePlan | Plans,
    group: ProcessGroup | None = None,
    *,
    requests: Sequence[Mapping[str, Any]] | None = None,
    trace: Recorder | None = None,
    convolutions: Convolutions = "onednn",
    groups: Groups | None = None,
    **call: Any,
) -> Any:
    """Call a pipeline whose transformers lie in stages over the ranks of a process group.

    Every rank of the group calls this with the same pipeline, plan and arguments; with a generator of the same seed,
    too. Ranks need weights only for their own layers and modules: see
    :func:`toolkit.models.transformers.stage_pipeline.load_pipeline`.

    Args:
        pipe: a diffusers pipeline. It is left as it was found.
        plan: how its transformer is spread; for several transformers the same, or one for each by name.
        group: the group; None for the default one. Without any, the plan must be for one rank.
        requests: several calls in flight: what each has beside ``call``. Each needs a generator of its own.
        trace: records what this rank did.
        convolutions: the kernels of small fp32 CPU convolutions while latents are decoded by the plan.
        groups: further groups of the same ranks, where they are kept from call to call.
        **call: the arguments of ``pipe(...)``.

    Returns:
        On the rank that decodes (rank 0 unless ``plan.vae`` says otherwise): what ``pipe(**call)`` returns; a list
        where there are ``requests``. None on the others.

    Raises:
        PlanError: where the plan does not fit the pipeline or the group.
        ModelError: where the pipeline cannot be run in stages.
        RunError: where ranks were given different noise or prompts.
        RankFailed: where another rank raised.
    """
    plans = plans_of(pipe, plan)
    one = next(iter(plans.values()))
    check_requests(one, requests, call)
    member = Member.of(group)
    one.require_ranks(member.size, "group")
    rank = Rank(member, FailureFlag(member.store, member.rank), trace or Recorder(member.rank), convolutions)
    with ExitStack() as stack:
        # Groups that the caller does not keep end with this call, also after a failure and on ranks without work.
        groups = groups or stack.enter_context(closing(Groups()))
        for purpose in PURPOSES:  # torch makes a group only with the help of all ranks, also of those without work
            groups.like(member, purpose)
        for place, each in enumerate(plans.values()):
            sharers(Places.of(each, None, member.rank, member.size, place % each.experts), member, groups)
        if member.rank >= one.ranks:
            return None
        with rank.failure.watch():
            assembly = Assembly(pipe, plans, rank, groups)
            try:
                results = _run(assembly, [{**call, **more} for more in requests or [{}]])
            except BaseException:
                assembly.abandon()
                raise
            assembly.close()
    if member.rank != one.output_rank:
        return None
    return results if requests else results[0]


def _run(assembly: Assembly, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
    if len(calls) == 1:
        agenda = Agenda(assembly.rank)
        result = _left_early(partial(assembly.pipeline(agenda), **calls[0]))
        agenda.close()
        return [result]
    requests = Requests[Any](assembly.rank)
    pipelines = [partial(assembly.pipeline(requests), **arguments) for arguments in calls]
    return requests.run([partial(_left_early, pipeline) for pipeline in pipelines])


def _left_early(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Left:
        return None


def plans_of(source: Any, plan: StagePlan | Plans) -> Plans:
    """The plan of each expert of a pipeline.

    Raises:
        PlanError: where names or ranks do not agree.
    """
    experts = list(experts_of(source))
    plans = plans_by_name(plan, experts)
    if sorted(plans) != sorted(experts):
        raise PlanError(f"plans are for {', '.join(plans)}, the pipeline has {', '.join(experts)}: one for each.")
    one = plans[experts[0]]
    for other in plans.values():
        same = (one.ranks, one.experts, one.encoders, one.vae) == (
            other.ranks,
            other.experts,
            other.encoders,
            other.vae,
        )
        if not same:
            raise PlanError(f"{one!r} and {other!r}: the plans of a pipeline's transformers need the same ranks.")
    if one.experts not in (1, len(experts)):
        raise PlanError(
            f"the plan has {one.experts} groups of ranks for experts, the pipeline has {len(experts)} "
            f"({', '.join(experts)}): use experts=1 or {len(experts)}."
        )
    return {name: plans[name] for name in experts}


def check_requests(plan: StagePlan, requests: Sequence[Mapping[str, Any]] | None, call: Mapping[str, Any]) -> None:
    """Refuse requests that would draw from each other's random numbers.

    Raises:
        PlanError: where there are none, or one has no generator of its own.
    """
    if requests is None:
        return
    if not requests:
        raise PlanError("requests is empty: give the arguments of one call at least, or leave it out.")
    given = [{**call, **more}.get("generator") for more in requests]
    if any(generator is None for generator in given) or len({id(one) for one in given}) < len(given):
        raise PlanError(
            "requests in flight draw their noise in turns: give each a generator of its own, "
            'as {"generator": torch.Generator().manual_seed(0)}.'
        )
