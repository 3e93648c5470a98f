"""The pictures of a report, each with a heading and a sentence for readers who cannot see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from toolkit import plot
from toolkit.evidence.contact_sheet import chosen_frames, contact_sheet
from toolkit.evidence.subjects import Subject
from toolkit.geometry.checks import check_choice
from toolkit.plot.theme import ThemeName

SHEET = "Contact sheet"


@dataclass(frozen=True, slots=True)
class ReportPicture:
    """One picture.

    Attributes:
        heading: Heading of the picture.
        alt: A sentence that describes the picture.
        kind: ``"png"`` or ``"jpeg"``.
        light: The picture for light pages.
        dark: The picture for dark pages; None if one serves both.
    """

    heading: str
    alt: str
    kind: str
    light: bytes
    dark: bytes | None = None

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, choices=("png", "jpeg"))


def pictures(subjects: Sequence[Subject], base: Subject, *, reference: str) -> Iterator[ReportPicture]:
    """The contact sheet; peaks and scaling of all runs; then seams, times and memory of each run."""
    compared = [subject for subject in subjects if subject.comparison is not None]
    if compared:
        yield sheet(compared, reference)
    for heading, draw in _figures(subjects, base):
        light = draw("light")
        yield ReportPicture(heading, light.describe(), "png", light.to_png(), draw("dark").to_png())


def sheet(compared: Sequence[Subject], reference: str) -> ReportPicture:
    """The contact sheet of the compared runs."""
    frames = chosen_frames(compared)
    names = ", ".join(subject.name for subject in compared)
    alt = (
        f"Frame {', '.join(map(str, frames))} of {reference}, then of {names}; under each output, its amplified "
        "difference, blue below and red above the reference."
    )
    return ReportPicture(SHEET, alt, "jpeg", contact_sheet(compared, reference, frames=frames))


Draw = Callable[[ThemeName], plot.Figure]


def _figures(subjects: Sequence[Subject], base: Subject) -> Iterator[tuple[str, Draw]]:
    measured = [subject.run for subject in subjects if len(subject.run.peaks)]
    if len(measured) > 1:
        yield "Peak memory", lambda theme: plot.peak_memory(measured, theme=theme)
    traced = [subject for subject in subjects if len(subject.run.trace)]
    if base in traced and base.ranks == 1 and any(subject.ranks > 1 for subject in traced):
        runs = [subject.run for subject in traced]
        yield "Speed-up and lost time", lambda theme: plot.scaling(runs, base.run, theme=theme)
    for subject in traced:
        if not subject.is_reference:
            yield from _of_one(subject)


def _of_one(subject: Subject) -> Iterator[tuple[str, Draw]]:
    found, run = subject.comparison, subject.run
    if found is not None and found.worst_seam is not None and not found.identical:
        worst = int(found.per_frame["max_abs"].fillna(inf).argmax())
        yield f"{subject.name}: seams", lambda theme: plot.seams(found, worst, theme=theme)
    yield f"{subject.name}: timeline", lambda theme: plot.timeline(run, theme=theme)
    yield f"{subject.name}: use of time", lambda theme: plot.utilisation(run, theme=theme)
    if len(run.memory):
        yield f"{subject.name}: memory of each rank", lambda theme: plot.memory(run, theme=theme)
