"""Rehearsing a pipeline's call: whole, or with its transformers in stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import fspath
from typing import Any

from toolkit.cluster.generate_request import GenerateRequest
from toolkit.distributed.generating import plans_of
from toolkit.geometry.plan import Plan
from toolkit.geometry.stage_plan import Plans, StagePlan, first_plan
from toolkit.geometry.topology import Topology
from toolkit.models.transformers.pipeline_parts import experts_of
from toolkit.models.transformers.split_check import returned_by
from toolkit.models.transformers.stage_pipeline import load_pipeline, quiet
from toolkit.numerics.convolution import Convolutions
from toolkit.planning.rehearsing.fake_tensors_compat import device_without_data
from toolkit.planning.rehearsing.profile import Profile
from toolkit.planning.rehearsing.rehearsal import Rehearsal, rehearsal_of
from toolkit.planning.rehearsing.script import Script
from toolkit.planning.rehearsing.setting import device_type, links_of
from toolkit.planning.rehearsing.writing_pipelines import PipelinePiece
from toolkit.runs.record import Record


@dataclass(frozen=True, slots=True)
class PipelineCall:
    """A pipeline's call, as :meth:`toolkit.Cluster.generate` takes it.

    Attributes:
        pipe: The pipeline, or the folder that it was saved in.
        plan: How its transformers are spread over the ranks; None: the pipeline's own call.
        call: The arguments of ``pipe(...)``.
        requests: What each of several calls has beside ``call``.
        load: With a folder: what the pipeline's ``from_pretrained`` is given.
    """

    pipe: Any
    plan: StagePlan | Plans | None
    call: Mapping[str, Any]
    requests: Sequence[Mapping[str, Any]] | None = None
    load: Mapping[str, Any] = field(default_factory=dict)

    @property
    def request(self) -> GenerateRequest:
        """The same for a cluster."""
        return GenerateRequest(self.pipe, self.plan, self.call, self.requests, memory=True, load=self.load)

    @property
    def plans(self) -> Plans:
        """The plan of each transformer; empty if there is none."""
        return {} if self.plan is None else plans_of(self.pipe, self.plan)

    def hollow(self) -> Any:
        """The pipeline, without weights if it lies in a folder."""
        if not self.request.in_folder:
            return self.pipe
        with quiet():
            return load_pipeline(fspath(self.pipe), {}, **self.load)

    def scripts(self, pipe: Any, device: str, convolutions: Convolutions) -> list[Script]:
        """Write the scripts of all ranks.

        Args:
            pipe: The pipeline; no weights are needed.
            device: The type of device that the ranks have.
            convolutions: The kernels of small fp32 CPU convolutions.

        Raises:
            ModelError: If what the pipeline does depends on data.
        """
        for name in self.plans:
            # Found out by a small call the first time. It needs data, so it is made here.
            returned_by(getattr(pipe, name))
        plans, where = self.plans or None, device_without_data(device)
        return PipelinePiece(pipe, plans, self.call, self.requests, where, convolutions).scripts()


def rehearse_pipeline(
    pipe: Any,
    plan: Plan | Plans | None,
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
    asked = PipelineCall(pipe, _stages(plan), call, requests, load or {})
    way = asked.request.way
    asked.request.check(way.ranks)
    hollow = asked.hollow()
    first = getattr(hollow, next(iter(experts_of(hollow))))
    kind = device_type(first, device, profile)
    links = links_of(topology, profile, way.ranks)
    scripts = asked.scripts(hollow, kind, convolutions)
    what = {
        "call": "generate",
        "rehearsed": True,
        "ranks": way.ranks,
        "device": kind,
        "convolutions": convolutions,
        "requests": len(requests or [{}]),
        "links": str(links),
    }
    given = {"pipeline": fspath(pipe) if asked.request.in_folder else type(pipe).__name__, **call}
    return rehearsal_of(
        scripts,
        plan=way,
        plans=asked.plans,
        record=Record.make(first, given, plan=asked.plan, what=what),
        profile=profile,
        topology=links,
    )


def _stages(plan: Any) -> StagePlan | Plans | None:
    """The plan, if it is one for a pipeline.

    Raises:
        PlanError: If it is for an autoencoder.
    """
    first_plan(plan)
    stages: StagePlan | Plans | None = plan
    return stages
