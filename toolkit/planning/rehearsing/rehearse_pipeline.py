"""Rehearsing a pipeline's call: whole, or with its transformers in stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import fspath
from typing import Any

from toolkit.cluster.generate_request import GenerateRequest
from toolkit.geometry.stage_plan import first_plan
from toolkit.geometry.topology import Topology, hosts_of
from toolkit.models.transformers.pipeline_parts import experts_of
from toolkit.models.transformers.split_check import returned_by
from toolkit.models.transformers.stage_pipeline import load_pipeline, quiet
from toolkit.numerics.convolution import Convolutions
from toolkit.planning.rehearsing.fake_tensors_compat import device_without_data
from toolkit.planning.rehearsing.profile import Profile
from toolkit.planning.rehearsing.rehearsal import Rehearsal, rehearsal_of
from toolkit.planning.rehearsing.setting import device_type, links_of
from toolkit.planning.rehearsing.writing_pipelines import PipelinePiece
from toolkit.runs.record import Record


def rehearse_pipeline(
    pipe: Any,
    plan: Any,
    *,
    profile: Profile | None,
    topology: Topology | None,
    device: str | None,
    convolutions: Convolutions,
    requests: Sequence[Mapping[str, Any]] | None = None,
    load: Mapping[str, Any] | None = None,
    **call: Any,
) -> Rehearsal:
    """Rehearse a pipeline's call; see :func:`toolkit.rehearse`.

    Raises:
        PlanError: If the plan does not fit the pipeline.
        ModelError: If the pipeline cannot be run in stages, or what it does depends on data.
    """
    request = GenerateRequest(pipe, plan, call, requests, memory=True, load=load or {})
    way = request.way
    request.check(way.ranks, weights=False)
    hollow = _without_weights(request)
    for name in request.plans:
        # Found out by a small call the first time. It needs data, so it is made here.
        returned_by(getattr(hollow, name))
    first = getattr(hollow, next(iter(experts_of(hollow))))
    kind = device_type(first, device, profile)
    links = links_of(topology, profile, way.ranks)
    if (one := first_plan(plan)) is not None:
        one.require_hosts(hosts_of(links, one.ranks))
    where = device_without_data(kind)
    piece = PipelinePiece(hollow, request.plans or None, call, requests, where, convolutions, request.in_folder)
    what = {
        "call": "generate",
        "rehearsed": True,
        "ranks": way.ranks,
        "device": kind,
        "convolutions": convolutions,
        "requests": len(requests or [{}]),
        "links": str(links),
    }
    return rehearsal_of(
        piece.scripts(),
        plan=way,
        plans=request.plans,
        record=Record.make(first, request.given, plan=request.plan, what=what),
        profile=profile,
        topology=links,
    )


def _without_weights(request: GenerateRequest) -> Any:
    """The pipeline; if it lies in a folder, without its weights."""
    if not request.in_folder:
        return request.pipe
    with quiet():
        return load_pipeline(fspath(request.pipe), {}, **request.load)
