"""What a worker does for a pipeline's call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.cluster.draws import Draws
from toolkit.cluster.engines.context import Context, Reports
from toolkit.distributed.generating import generate
from toolkit.distributed.load_stages import load as load_part
from toolkit.geometry.plan import or_whole
from toolkit.geometry.stage_plan import Plans, StagePlan, first_plan
from toolkit.runs.memory import MemoryCurve, measured
from toolkit.runs.trace import Kind, Label, Recorder


@dataclass(frozen=True, slots=True)
class RankCall:
    """What every rank is told of a pipeline's call.

    Attributes:
        source: The pipeline without its modules, or the folder that it is loaded from.
        plan: How its transformers are spread over the ranks; None: the pipeline's own call.
        call: The arguments of ``pipe(...)``.
        requests: What each of several calls has beside ``call``.
        load: With a folder: what the pipeline's ``from_pretrained`` is given.
        names: The names of the pipeline's modules, in the order in which they are passed.
        draws: Where random numbers come from.
        autocast: The dtype of ``torch.autocast`` in the kernel; None where it is off.
        origin: When the run began, on the kernel's clock.
        memory: Whether to measure memory.
    """

    source: Any
    plan: StagePlan | Plans | None
    call: Mapping[str, Any]
    requests: Sequence[Mapping[str, Any]] | None
    load: Mapping[str, Any]
    names: tuple[str, ...]
    draws: Draws
    autocast: torch.dtype | None
    origin: float
    memory: bool


def generate_on_rank(context: Context, what: RankCall, *modules: Any) -> tuple[Any, Any, MemoryCurve]:
    """Assemble this worker's part of the pipeline and call the SPMD function.

    Args:
        context: The worker.
        what: What is to be called.
        *modules: The pipeline's modules on this worker, if it does not come from a folder.

    Returns:
        The result (on the rank that decodes), the state of the random generators after it, and the memory curve.
    """
    rank, reports, origin = context.setup.rank, Reports(context.line), context.here(what.origin)
    trace, curve = Recorder(rank, origin, listener=reports.add), MemoryCurve(rank)
    call = what.draws.set_up(dict(what.call), context.device)
    cast = nullcontext() if what.autocast is None else torch.autocast(context.device.type, what.autocast)
    try:
        with measured(curve, context.device, origin=origin) if what.memory else nullcontext(), cast:
            pipe = _pipeline(context, what, modules=modules, trace=trace)
            if what.plan is None:
                with trace(Kind.WHOLE, Label(text=type(pipe).__name__)):
                    result = pipe(**call)
            else:
                result = generate(
                    pipe,
                    what.plan,
                    requests=what.requests,
                    trace=trace,
                    convolutions=context.setup.convolutions,
                    groups=context.groups,
                    **call,
                )
    finally:
        reports.flush()
    return result, what.draws.state(call, what.requests), curve


def _pipeline(context: Context, what: RankCall, *, modules: tuple[Any, ...], trace: Recorder) -> Any:
    """The pipeline with what this rank holds of it."""
    if not isinstance(what.source, str):
        for name, module in zip(what.names, modules, strict=True):
            setattr(what.source, name, module)
        return what.source
    if context.setup.rank not in or_whole(first_plan(what.plan)).working:
        return what.source
    with trace(Kind.LOAD, Label(text=what.source)):
        return _loaded(context, what.source, plan=what.plan, load=what.load)


def _loaded(context: Context, folder: str, *, plan: StagePlan | Plans | None, load: Mapping[str, Any]) -> Any:
    """This rank's part of the pipeline in a folder; kept until another one is asked for."""
    key = repr((folder, plan, sorted(load.items())))
    if key not in context.pipelines:
        context.pipelines.clear()
        context.pipelines[key] = load_part(folder, plan, device=context.device, **load)
    return context.pipelines[key]
