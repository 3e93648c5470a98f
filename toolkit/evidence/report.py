"""``tk.report``: what a reviewer asks for about runs, in one call."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import pandas as pd
from PIL import Image
from torch import Tensor

from toolkit.errors import ToolkitError
from toolkit.evidence.beside import Beside
from toolkit.evidence.contents import Contents
from toolkit.evidence.markdown import markdown
from toolkit.evidence.page import MOST_FILM, body, page
from toolkit.evidence.pictures import SHEET, ReportPicture, pictures
from toolkit.evidence.sentences import closeness, counted_runs, remarks, setting
from toolkit.evidence.side_by_side import can_film, side_by_side
from toolkit.evidence.subjects import Perceptual, Subject, cautions, gather, named
from toolkit.evidence.tables import headline, per_frame, per_rank, readable
from toolkit.geometry.checks import check_choice
from toolkit.geometry.counting import counted
from toolkit.runs.record import Extent
from toolkit.runs.run import Run
from toolkit.runs.video_file import check_rate
from toolkit.runs.written import check_writable

THUMBNAIL = 28_000
"""Largest contact sheet in bytes in a notebook, where the whole report stays below 50 kB."""


class Report:
    """What a reviewer asks for about runs: time and memory before and after, errors, pictures, the setup.

    Pictures are drawn when they are first needed.

    Args:
        subjects: The runs, starting with the reference if it is a run.
        base: The run that speed-ups are relative to.
        reference: Name of what outputs are compared with.
        title: Title of the report.
        remarks: Sentences about the numbers.
        fps: Frames per second of the video.
        record: How much of the runs' records is shown.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        base: Subject,
        *,
        reference: str,
        title: str,
        remarks: Sequence[str],
        fps: float,
        record: Extent = "public",
    ) -> None:
        self.subjects, self.record = tuple(subjects), record
        self.base, self.reference = base, reference
        self.title, self.remarks, self.fps = title, tuple(remarks), fps

    @property
    def cautions(self) -> tuple[str, ...]:
        """Facts that a reader must know first: records that differ, and errors or speed-ups that are too large."""
        return cautions(self.subjects, self.base, record=self.record)

    @cached_property
    def pictures(self) -> tuple[ReportPicture, ...]:
        """Contact sheet and figures."""
        return tuple(pictures(self.subjects, self.base, reference=self.reference))

    @cached_property
    def film(self) -> bytes | None:
        """The outputs beside the reference as a video; None for still pictures, and if no video writer is installed."""
        return side_by_side(self.subjects, self.fps) if can_film(self.subjects) else None

    def to_dataframe(self) -> pd.DataFrame:
        """The main table as numbers: one row per run, with units in the column names."""
        return headline(self.subjects, self.base)

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one file that needs no network and no scripts, and that others cannot read unless it was.

        A video of more than 1 MB is written beside it, into a folder named after the file.

        Raises:
            ToolkitError: If it cannot be written. What was there is unchanged.
        """
        check_writable(path)
        path, contents = Path(path), self._contents(True)
        beside = Beside(path)
        large = contents.film is not None and len(contents.film) > MOST_FILM
        where = beside.add("side_by_side.mp4", contents.film) if contents.film is not None and large else None
        beside.write(page(contents, where))
        return path

    def to_markdown(self, path: str | Path | None = None) -> str:
        """The report as Markdown for a pull request.

        Args:
            path: File to write; pictures and video go into a folder beside it. None returns the text only.

        Raises:
            ToolkitError: If it cannot be written. What was there is unchanged.
        """
        if path is None:
            return markdown(self._contents(False))
        check_writable(path)
        path, contents = Path(path), self._contents(True)
        beside = Beside(path)
        files = {
            picture.heading: beside.add(f"{place:02}.{picture.kind}", picture.light)
            for place, picture in enumerate(contents.pictures)
        }
        film = None if contents.film is None else beside.add("side_by_side.mp4", contents.film)
        text = markdown(contents, files, film=film)
        beside.write(text)
        return text

    def _contents(self, drawn: bool) -> Contents:
        return Contents(
            title=self.title,
            setting=setting(self.subjects[0].run.record.extent(self.record)),
            cautions=self.cautions,
            headline=readable(self.to_dataframe()),
            closeness=tuple(closeness(subject, self.reference) for subject in self.subjects),
            remarks=self.remarks,
            pictures=self.pictures if drawn else (),
            film=self.film if drawn else None,
            ranks=readable(per_rank(self.subjects)),
            frames=readable(per_frame(self.subjects)),
            records={one.name: one.run.record.extent(self.record).to_json() for one in self.subjects},
        )

    def __repr__(self) -> str:
        compared = sum(subject.comparison is not None for subject in self.subjects)
        warned = f", {counted(len(self.cautions), 'caution')}" if self.cautions else ""
        return f"Report({counted_runs(self.subjects)}, {compared} compared with {self.reference}{warned})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """The main table, the sentences and a small contact sheet."""
        shown = next((picture for picture in self.pictures if picture.heading == SHEET), None)
        sheet = "" if shown is None else _thumbnail(shown)
        return {"text/plain": repr(self), "text/html": f"<div>{body(self._contents(False), 'h3')}{sheet}</div>"}


def report(
    runs: Run | Sequence[Run] | Mapping[str, Run],
    reference: Run | Tensor,
    *,
    reference_name: str | None = None,
    base: Run | None = None,
    title: str | None = None,
    notes: Sequence[str] = (),
    perceptual: Perceptual | None = None,
    data_range: float = 2.0,
    fps: float = 16,
    record: Extent = "public",
) -> Report:
    """Compile what a reviewer asks for about runs of one input: speed, memory, errors, pictures, setup.

    Args:
        runs: A run, several, or a mapping of names to runs; runs without names are named after their plans. Streamed
            runs have time and memory only, and so do rehearsals: give one to see beside each run what was predicted.
        reference: What to compare outputs with: a run, usually the model's own call on the same cluster, or a tensor.
        reference_name: Name of the reference; by default the summary of its plan.
        base: The run that speed-ups and peaks are relative to; by default the reference, or the first run if the
            reference is a tensor.
        title: Title of the report.
        notes: More sentences to print, for example about warm-up calls.
        perceptual: More measures by name, each a function of one frame of output and reference (``1 c h w``, float32,
            not clipped) that returns a number; for example LPIPS with your own weights.
        data_range: Largest minus smallest possible value: 2.0 for samples in -1..1.
        fps: Frames per second of the video.
        record: ``"public"`` shows what :meth:`Record.public` leaves of the runs' records: no prompts, no folders;
            ``"full"`` shows all of them.

    Raises:
        ToolkitError: If there are no runs, or shapes, dtypes or inputs differ, or the reference kept no output.

    Example:
        >>> from toolkit.errors import ToolkitError
        >>> try:
        ...     report([], Tensor(1, 3, 8, 8), reference_name="a file")
        ... except ToolkitError as error:
        ...     print(error)
        there are no runs to report on: give a Run, a list of runs, or a mapping of names to runs.
    """
    check_rate(fps)
    check_choice("record", record, choices=get_args(Extent))
    called = reference_name or _name(reference)
    subjects = gather(
        named(_others(runs, reference), called),
        reference,
        reference_name=called,
        data_range=data_range,
        perceptual=perceptual or {},
    )
    held = next((subject for subject in subjects if subject.run is base), None) if base else subjects[0]
    if held is None:
        raise ToolkitError(f"base={base!r}: must be one of the runs or the reference.")
    said = [*notes, *remarks(subjects, perceptual or {})]
    return Report(
        subjects,
        held,
        reference=called,
        title=title or f"{counted_runs(subjects)} against {called}",
        remarks=said,
        fps=fps,
        record=record,
    )


def _others(
    runs: Run | Sequence[Run] | Mapping[str, Run], reference: Run | Tensor
) -> Sequence[Run] | Mapping[str, Run]:
    """The runs without the reference, which comes first in the report."""
    if isinstance(runs, Mapping):
        return {name: run for name, run in runs.items() if run is not reference}
    return [run for run in ([runs] if isinstance(runs, Run) else runs) if run is not reference]


def _name(reference: Run | Tensor) -> str:
    if not isinstance(reference, Run):
        raise ToolkitError("the reference is a tensor without a name: say what it is with reference_name='...'.")
    return reference.way.summary


def _thumbnail(picture: ReportPicture) -> str:
    """The contact sheet, shrunk for a notebook."""
    with Image.open(BytesIO(picture.light)) as sheet:
        width = sheet.width
        while len(small := _webp(sheet, width)) > THUMBNAIL:
            width = 9 * width // 10
    source = b64encode(small).decode()
    return f'<p><img alt="{escape(picture.alt)}" src="data:image/webp;base64,{source}"></p>'


def _webp(sheet: Image.Image, width: int) -> bytes:
    buffer = BytesIO()
    small = sheet.resize((width, round(width * sheet.height / sheet.width)), Image.Resampling.LANCZOS)
    small.save(buffer, "WEBP", quality=50, method=6)
    return buffer.getvalue()
