"""Generate: call an unmodified pipeline over the ranks of a process group.

Every rank runs the pipeline's own Python code: schedulers, callbacks, the loop over the steps. Only its modules are
replaced by twins, which compute on the ranks that the plan says and give every rank the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

from torch.distributed import ProcessGroup

from toolkit.distributed.comm.group import Groups
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.agenda import Agenda
from toolkit.distributed.stages.assembly import Assembly
from toolkit.distributed.stages.engine import PURPOSES
from toolkit.distributed.stages.hybrid import sharers
from toolkit.distributed.stages.places import Places
from toolkit.distributed.stages.remote_modules import LeavePipeline
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
    """Call a pipeline whose transformers are split into stages over the ranks of a process group.

    Every rank of the group calls this with the same pipeline, plan and arguments, including a generator with the same
    seed. A rank needs weights only for its own layers and modules: see
    :func:`toolkit.models.transformers.stage_pipeline.load_pipeline`.

    Args:
        pipe: A diffusers pipeline. It is left as it was found.
        plan: How its transformer is split; for several transformers, one plan for all or one for each by name.
        group: The group; None: the default group. Without any group, the plan must be for one rank.
        requests: Several calls to keep in flight: for each, the arguments that it has in addition to ``call``. Each
            needs a generator of its own.
        trace: Records what this rank does.
        convolutions: The kernels of small fp32 CPU convolutions while the plan decodes latents.
        groups: Further groups of the same ranks, if the caller keeps them from call to call.
        **call: The arguments of ``pipe(...)``.

    Returns:
        What ``pipe(**call)`` returns, on the rank that decodes (rank 0 unless ``plan.vae`` says otherwise); a list if
        ``requests`` are given. None on the other ranks.

    Raises:
        PlanError: If the plan does not fit the pipeline or the group.
        ModelError: If the pipeline cannot be run in stages.
        RunError: If ranks were given different noise or prompts.
        RankFailed: If another rank raised.
    """
    plans = plans_of(pipe, plan)
    one = next(iter(plans.values()))
    check_requests(one, requests, call=call)
    rank = Rank.of(group, trace, convolutions)
    one.require_ranks(rank.member.size, "group")
    with ExitStack() as stack:
        # Groups that the caller does not keep end with this call, even after a failure and on ranks without work.
        groups = groups or stack.enter_context(closing(Groups()))
        results = generate_as(rank, pipe, plans, groups, [{**call, **more} for more in requests or [{}]])
    return results if requests or results is None else results[0]


def generate_as(rank: Rank, pipe: Pipeline, plans: Plans, groups: Groups, calls: Sequence[Mapping[str, Any]]) -> Any:
    """What one rank does of :func:`generate`; a rehearsal calls it for ranks that do not exist.

    Args:
        rank: The rank.
        pipe: A diffusers pipeline.
        plans: The plan of each transformer.
        groups: Further groups of the same ranks.
        calls: The arguments of each call.

    Returns:
        The results of the calls, on the rank that decodes; None on the others.
    """
    member, one = rank.member, next(iter(plans.values()))
    # torch creates a group only if all ranks take part. So ranks without work ask for every group too, in the same
    # order as the others, and only then return.
    rank.connect()
    for purpose in PURPOSES:
        groups.like(member, purpose)
    for place, each in enumerate(plans.values()):
        places = Places.of(each, None, me=member.rank, size=member.size, expert=place % each.experts)
        sharers(places, member, groups=groups)
    if member.rank >= one.ranks:
        return None
    with rank.failure.watch():
        assembly = Assembly(pipe, plans, rank, groups)
        try:
            results = _run(assembly, calls)
        except BaseException:
            # Do not wait for what was sent to ranks that may have failed.
            assembly.abandon()
            raise
        assembly.close()
    return results if member.rank == one.output_rank else None


def _run(assembly: Assembly, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Make the calls: a single one on this thread, several as requests that take turns."""
    if len(calls) == 1:
        agenda = Agenda(assembly.rank)
        result = _until_left(partial(assembly.pipeline(agenda), **calls[0]))
        agenda.close()
        return [result]
    requests = Requests[Any](assembly.rank)
    pipelines = [partial(assembly.pipeline(requests), **arguments) for arguments in calls]
    return requests.run([partial(_until_left, pipeline) for pipeline in pipelines])


def _until_left(function: Callable[[], Any]) -> Any:
    """Call a pipeline; return None if this rank left it where the latents are decoded."""
    try:
        return function()
    except LeavePipeline:
        return None


def plans_of(source: Any, plan: StagePlan | Plans) -> Plans:
    """The plan of each transformer of a pipeline, in the pipeline's order.

    Args:
        source: A pipeline, or the folder of one.
        plan: One plan for all transformers, or one for each by name.

    Raises:
        PlanError: If a name is missing or unknown, or the plans are for different ranks.
    """
    experts = list(experts_of(source))
    plans = plans_by_name(plan, experts)
    if sorted(plans) != sorted(experts):
        raise PlanError(
            f"plans are for {', '.join(plans)}, but the pipeline has {', '.join(experts)}: give one plan for each."
        )
    one = plans[experts[0]]
    for other in plans.values():
        same = (one.ranks, one.experts, one.encoders, one.vae) == (
            other.ranks,
            other.experts,
            other.encoders,
            other.vae,
        )
        if not same:
            raise PlanError(
                f"{one!r} and {other!r}: the plans of a pipeline's transformers must be for the same ranks."
            )
    if one.experts not in (1, len(experts)):
        raise PlanError(
            f"the plan has {one.experts} groups of ranks for experts, but the pipeline has {len(experts)} "
            f"({', '.join(experts)}): use experts=1 or {len(experts)}."
        )
    return {name: plans[name] for name in experts}


def check_requests(plan: StagePlan, requests: Sequence[Mapping[str, Any]] | None, *, call: Mapping[str, Any]) -> None:
    """Refuse requests that would draw random numbers from the same generator.

    Their order of drawing depends on the plan, so the noise of each request would too.

    Args:
        plan: The plan of the pipeline's transformers.
        requests: What each request has in addition to ``call``; None: there is only one.
        call: The arguments that all requests share.

    Raises:
        PlanError: If the list is empty, or a request does not have a generator of its own.
    """
    if requests is None:
        return
    if not requests:
        raise PlanError("requests is empty: give the arguments of at least one call, or leave it out.")
    given = [{**call, **more}.get("generator") for more in requests]
    if any(generator is None for generator in given) or len({id(one) for one in given}) < len(given):
        raise PlanError(
            "requests in flight draw their noise in turns: give each a generator of its own, "
            'such as {"generator": torch.Generator().manual_seed(0)}.'
        )
