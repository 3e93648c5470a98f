"""The runs of a report: which runs can be compared, and how far each is from the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import Tensor

from toolkit.analysis.compare import Comparison, compare
from toolkit.errors import ToolkitError
from toolkit.geometry.plan import PlanKind
from toolkit.numerics.flip import flip
from toolkit.numerics.metrics import frames
from toolkit.runs.precision import Precision
from toolkit.runs.record import Extent, Record
from toolkit.runs.run import Run

Perceptual = Mapping[str, Callable[[Tensor, Tensor], Any]]
"""More measures by name: each takes one frame of output and reference, ``1 c h w``, and returns a number."""

EXPECTED = ("when", "plan", "seed", "git.dirty")
EXPECTED_OF_CALL = ("ranks", "ranks taking part", "norm passes", "streamed", "start", "keep_memory")
"""Entries of records, and of their calls, that may differ between comparable runs."""

TOO_GOOD = 1.15
"""Efficiency above which something must have slowed down the base run."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One run of a report.

    Attributes:
        name: Name of the run.
        run: The run.
        comparison: Comparison with the reference; None for the reference itself, and if the run kept no output.
        visible: FLIP and other measures by name, one number per frame; empty without a comparison.
        is_reference: Whether the other runs are compared with this one.
    """

    name: str
    run: Run
    comparison: Comparison | None = None
    visible: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    is_reference: bool = False

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return self.run.way.ranks

    @property
    def frames(self) -> pd.DataFrame:
        """All measures of each frame."""
        if self.comparison is None:
            return pd.DataFrame()
        return self.comparison.per_frame.assign(**self.visible)


def gather(
    runs: Mapping[str, Run], reference: Run | Tensor, *, reference_name: str, data_range: float, perceptual: Perceptual
) -> tuple[Subject, ...]:
    """Compare each run with the reference. If the reference is a run, it comes first.

    Raises:
        ToolkitError: If there are no runs, or they cannot be compared.
    """
    if not runs:
        raise ToolkitError("there are no runs to report on: give a Run, a list of runs, or a mapping of names to runs.")
    for name, run in runs.items():
        if not isinstance(run, Run):
            raise ToolkitError(f"{name} is a {type(run).__name__}: pass the Run that cluster.decode returns.")
    target = _target(reference)
    every = {reference_name: reference, **runs} if isinstance(reference, Run) else dict(runs)
    _check_inputs(every)
    found = [
        _subject(name, run, target=target, reference_name=reference_name, data_range=data_range, perceptual=perceptual)
        for name, run in runs.items()
    ]
    first = [Subject(reference_name, reference, is_reference=True)] if isinstance(reference, Run) else []
    return (*first, *found)


def named(runs: Run | Sequence[Run] | Mapping[str, Run], taken: str) -> dict[str, Run]:
    """Runs by name; runs without names are named after their plans, with a number if a name occurs twice.

    Args:
        runs: One run, several, or several by name.
        taken: Name of the reference, which no other run may have.

    Raises:
        ToolkitError: If a given name is the reference's.
    """
    if isinstance(runs, Mapping):
        if taken in runs:
            raise ToolkitError(f"{taken!r} is the name of the reference: give the run another name.")
        return dict(runs)
    names: dict[str, Run] = {}
    for run in [runs] if isinstance(runs, Run) else runs:
        name = base = _called(run) if isinstance(run, Run) else "an entry"
        count = 1
        while name in names or name == taken:
            count += 1
            name = f"{base} ({count})"
        names[name] = run
    return names


def _called(run: Run) -> str:
    return f"{run.way.summary}, rehearsed" if run.rehearsed else run.way.summary


def cautions(subjects: Sequence[Subject], base: Subject, *, record: Extent = "public") -> tuple[str, ...]:
    """Facts that a reader must know before trusting the numbers.

    These are records that differ in more than the plan, ranks without work, errors beyond rounding, and speed-ups that
    more ranks cannot explain.

    Args:
        subjects: The runs.
        base: The run that speed-ups are relative to.
        record: How much of the records is shown. Whole records are compared.
    """
    found = []
    first, *others = subjects
    for other in others:
        records = first.run.record, other.run.record
        said = differing(*(one.extent(record) for one in records))
        for key in differing(*records):
            values = ": {!r} and {!r}".format(*said[key]) if key in said else ", which a public record leaves out"
            found.append(f"{first.name} and {other.name} differ in {key}{values}.")
    for subject in subjects:
        found += _beyond_rounding(subject)
        plan = subject.run.way
        if len(plan.working) < plan.ranks:
            found.append(f"{subject.name}: only {len(plan.working)} of {plan.ranks} ranks have work.")
        efficiency = base.run.seconds * base.ranks / (subject.run.seconds * subject.ranks)
        if efficiency > TOO_GOOD:
            found.append(
                f"{subject.name}: an efficiency of {efficiency:.0%} cannot come from more ranks alone: {base.name} was "
                "short of memory, or shared the machine. Measure again on an idle machine."
            )
    return tuple(found)


def differing(one: Record, two: Record) -> dict[str, tuple[Any, Any]]:
    """Differences between two records that make their runs hard to compare."""
    expected = {*EXPECTED, *(f"what.{name}" for name in EXPECTED_OF_CALL)}
    found = {key: pair for key, pair in one.diff(two).items() if key not in expected}
    if one.what.get("rehearsed") or two.what.get("rehearsed"):
        # A rehearsal ran nowhere: its record has no backend, no threads, no sum of its input.
        return {key: pair for key, pair in found.items() if None not in pair}
    return found


def _beyond_rounding(subject: Subject) -> list[str]:
    """Cautions about errors beyond rounding, for runs in shards or stages; tiles promise nothing."""
    found = subject.comparison
    if found is None or found.grid is not None or subject.run.way.kind is PlanKind.WHOLE:
        return []
    # Reports are mostly written where the run was made, so this process's TF32 settings are the run's.
    device_type, _, _ = str(subject.run.record.what.get("device", "cpu")).partition(":")
    precision = Precision.of(found.samples[1].dtype, device_type)
    if found.max_abs <= precision.rounding * float(found.samples[1].abs().max()):
        return []
    return [
        f"{subject.name}: an error of {found.max_abs:.3g} is more than rounding of {precision.name} explains. Do not "
        "trust this run."
    ]


def _subject(
    name: str, run: Run, *, target: Tensor, reference_name: str, data_range: float, perceptual: Perceptual
) -> Subject:
    if run.kept is None:
        return Subject(name, run)
    if not isinstance(run.kept, Tensor):
        raise ToolkitError(
            f"{name}: the output is a {type(run.kept).__name__}, but a report compares tensors: call the pipeline with "
            "output_type='pt' or 'latent'."
        )
    found = compare(run, target, name=name, reference_name=reference_name, data_range=data_range)
    visible = {}
    if found.samples[0].shape[1] in (1, 3) and data_range in (1.0, 2.0):
        visible["FLIP"] = tuple(flip(*found.samples, data_range=data_range))
    for measure, function in perceptual.items():
        pairs = zip(*map(frames, found.samples), strict=True)
        visible[measure] = tuple(float(function(a[None].float(), b[None].float())) for a, b in pairs)
    return Subject(name, run, found, visible)


def _target(reference: Run | Tensor) -> Tensor:
    if isinstance(reference, Run) and reference.kept is None:
        raise ToolkitError(f"{reference!r} kept no output to compare with: run the reference without stream=.")
    target = reference.output if isinstance(reference, Run) else reference
    if not isinstance(target, Tensor):
        raise ToolkitError(
            f"the reference is a {type(target).__name__}: give a Run whose output is a tensor, or a Tensor."
        )
    return target


def _check_inputs(runs: Mapping[str, Run]) -> None:
    """Refuse runs whose records show different inputs."""
    inputs = {name: run.record.input.get("sha256") for name, run in runs.items()}
    known = {name: sha for name, sha in inputs.items() if sha}
    if len(set(known.values())) > 1:
        said = ", ".join(f"{name}: {sha[:8]}" for name, sha in known.items())
        raise ToolkitError(
            f"the runs have different inputs ({said}), but a report needs one: run all on the same tensor."
        )
