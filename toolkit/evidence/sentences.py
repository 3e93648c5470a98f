"""The sentences of a report: what was run, how close each run is to the reference, what was not computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.evidence.subjects import Perceptual, Subject
from toolkit.geometry.counting import counted
from toolkit.runs.record import Record


def closeness(subject: Subject, reference: str) -> str:
    """One sentence about the exactness of a run: what its plan promises, and what was measured."""
    name = f"{subject.name} ({subject.run.way.promise})"
    if subject.is_reference:
        return f"{subject.name}: the reference for all other runs."
    if subject.run.rehearsed:
        return f"{name}: a rehearsal, so time and memory are predicted, and there is no output."
    found = subject.comparison
    if found is None:
        return f"{name}: the output was streamed and not kept, so only time and memory are reported."
    if found.identical:
        return f"{name}: identical to {reference}."
    worst = found.per_frame["max_abs"].idxmax() if found.per_frame["max_abs"].notna().all() else None
    where = f" in frame {worst}" if worst is not None and len(found.per_frame) > 1 else ""
    largest = f"largest difference {found.max_abs:.3g}{where}, PSNR {found.psnr:.2f} dB"
    return f"{name}: {largest}, against {reference}."


def setting(record: Record) -> str:
    """Model, input, numerics and machine of a run on one line, without what the record does not say."""
    model, call, taken, machine = record.model, record.what, record.input, record.machine
    parts = [
        _said(model, "{class}, {parameters:,} parameters, {dtype}"),
        _said(taken, "input {shape} {dtype}, SHA-256 {sha256:.12}"),
        _said(call, "{device}, {backend}, threads per rank: {threads}, convolutions by {convolutions}"),
        _said(machine, "{cpu}, {cores} cores, {system}"),
        _said(record.versions, "torch {torch}, diffusers {diffusers}, toolkit {toolkit}"),
        _said(record.git, "commit {commit:.10}"),
    ]
    return "; ".join(part.replace("torch.float", "float").replace("torch.bfloat", "bfloat") for part in parts if part)


def remarks(subjects: Sequence[Subject], perceptual: Perceptual) -> list[str]:
    """What the numbers mean, and which are missing."""
    compared = [subject for subject in subjects if subject.comparison is not None]
    found = ["Times are for one call, measured in this process until the whole output has arrived."]
    if any(len(subject.run.peaks) for subject in subjects):
        found.append("Peak memory counts tensors allocated during the call, so it excludes the weights.")
    if compared:
        found.append("Errors are measured on raw tensors, before rounding to bytes or video encoding.")
    if any("FLIP" in subject.visible for subject in compared):
        found.append("FLIP is the visible difference at 67 pixels per degree, 0 (none) to 1, averaged over pixels.")
    elif compared:
        found.append("FLIP was not computed, because the output is not a grey or colour picture.")
    if compared and "LPIPS" not in perceptual:
        found.append("LPIPS was not computed: it needs weights; pass perceptual={'LPIPS': a function of two frames}.")
    return found


def counted_runs(subjects: Sequence[Subject]) -> str:
    """The number of runs without the reference, in words."""
    return counted(sum(not subject.is_reference for subject in subjects), "run")


def _said(facts: Mapping[str, Any], form: str) -> str:
    try:
        return form.format(**facts)
    except (KeyError, ValueError, TypeError):
        return ""
