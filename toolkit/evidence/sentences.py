"""What a report says in sentences: what was run, how close each run is, what was not computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.evidence.subjects import Perceptual, Subject
from toolkit.geometry.counting import counted
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.stage_plan import StagePlan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.runs.record import Record

PROMISES = {
    TilePlan: "tiles, each computed from its own cells only, which approximates an untiled call",
    ShardPlan: "exact shards, the untiled call to rounding",
    StagePlan: "stages, the unsplit transformer's layers in their order",
    type(None): "the model's own call",
}


def closeness(subject: Subject, reference: str) -> str:
    """One sentence about what is exact in a run, as its plan promises and as it was measured."""
    promise = PROMISES[type(subject.run.plan)]
    if subject.is_reference:
        return f"{subject.name}: what the others are compared with."
    found = subject.comparison
    if found is None:
        return f"{subject.name}: {promise}; its output was streamed and not kept, so only time and memory are here."
    if found.identical:
        return f"{subject.name}: {promise}; equal to {reference} in every value."
    worst = found.per_frame["max_abs"].idxmax() if found.per_frame["max_abs"].notna().all() else None
    where = f", most in frame {worst}" if worst is not None and len(found.per_frame) > 1 else ""
    measured = f"off by at most {found.max_abs:.3g}{where}, PSNR {found.psnr:.2f} dB"
    return f"{subject.name}: {promise}; here {measured}, against {reference}."


def setting(record: Record) -> str:
    """Model, input, numerics and machine of a run, in a line; what the record does not say is left out."""
    model, call, taken, machine = record.model, record.what, record.input, record.machine
    parts = [
        _said(model, "{class}, {parameters:,} parameters, {dtype}"),
        _said(taken, "input {shape} {dtype}, SHA-256 {sha256:.12}"),
        _said(call, "{device}, {backend}, threads a rank: {threads}, convolutions by {convolutions}"),
        _said(machine, "{cpu}, {cores} cores, {system}"),
        _said(record.versions, "torch {torch}, diffusers {diffusers}, toolkit {toolkit}"),
        _said(record.git, "commit {commit:.10}"),
    ]
    return "; ".join(part.replace("torch.float", "float").replace("torch.bfloat", "bfloat") for part in parts if part)


def remarks(subjects: Sequence[Subject], perceptual: Perceptual) -> list[str]:
    """What the numbers are, and which there are not."""
    compared = [subject for subject in subjects if subject.comparison is not None]
    said = ["Each time is of one call, from the call in this process until the whole output was back in it."]
    if any(len(subject.run.peaks) for subject in subjects):
        said.append("Peaks are of tensors beyond those that were there before the call: without the weights.")
    if compared:
        said.append("Errors are between raw tensors, before anything is rounded to bytes or coded as a video.")
    if any("FLIP" in subject.visible for subject in compared):
        said.append("FLIP is what is seen at 67 pixels per degree, 0 (nothing) to 1, the mean over pixels.")
    elif compared:
        said.append("FLIP: not computed, the output is no picture in grey or colour.")
    if compared and "LPIPS" not in perceptual:
        said.append("LPIPS: not computed, no weights at hand; give perceptual={'LPIPS': a function of two frames}.")
    return said


def counted_runs(subjects: Sequence[Subject]) -> str:
    """How many runs there are beside the reference."""
    return counted(sum(not subject.is_reference for subject in subjects), "run")


def _said(facts: Mapping[str, Any], form: str) -> str:
    try:
        return form.format(**facts)
    except (KeyError, ValueError, TypeError):
        return ""
