"""``tk.report``: what a reviewer asks for about runs, in one call."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from torch import Tensor

from toolkit.errors import ToolkitError
from toolkit.evidence.contents import Contents
from toolkit.evidence.markdown import markdown
from toolkit.evidence.page import MOST_FILM, body, page
from toolkit.evidence.pictures import SHEET, Picture, pictures
from toolkit.evidence.sentences import closeness, counted_runs, remarks, setting
from toolkit.evidence.side_by_side import can_film, side_by_side
from toolkit.evidence.subjects import Perceptual, Subject, cautions, gather, named
from toolkit.evidence.tables import headline, per_frame, per_rank, readable
from toolkit.geometry.counting import counted
from toolkit.runs.run import Run

OWN_CALL = "the model's own call"
THUMBNAIL = 28_000
"""Most bytes of the contact sheet in a notebook, where the whole report weighs less than 50 kB."""


class Report:
    """What a reviewer asks for about runs: time and memory before and after, errors, pictures, the setup.

    Pictures are drawn when they are first wanted.

    Args:
        subjects: the runs, the reference first where it is one.
        base: what speed-up is held against.
        reference: the name of what outputs are compared with.
        title: its title.
        remarks: sentences about the numbers.
        fps: frames per second of the video.
    """

    def __init__(
        self, subjects: Sequence[Subject], base: Subject, reference: str, title: str, remarks: Sequence[str], fps: float
    ) -> None:
        self.subjects = tuple(subjects)
        self.base, self.reference = base, reference
        self.title, self.remarks, self.fps = title, tuple(remarks), fps

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a reader must know before believing: records that differ, errors and speed-ups that are too large."""
        return cautions(self.subjects, self.base)

    @cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """Contact sheet and figures."""
        return tuple(pictures(self.subjects, self.base, self.reference))

    @cached_property
    def film(self) -> bytes | None:
        """The outputs beside the reference as a video; None for pictures, and where nothing can write it."""
        return side_by_side(self.subjects, self.fps) if can_film(self.subjects) else None

    def to_dataframe(self) -> pd.DataFrame:
        """The one table as numbers, a row per run, units in the names of the columns."""
        return headline(self.subjects, self.base)

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one file that needs no network and no scripts.

        A video of more than 1 MB is written beside it, into a folder of the file's name.
        """
        path, contents = Path(path), self._contents(True)
        where = None
        if contents.film is not None and len(contents.film) > MOST_FILM:
            where = self._beside(path, "side_by_side.mp4", contents.film)
        path.write_text(page(contents, where), encoding="utf-8")
        return path

    def to_markdown(self, path: str | Path | None = None) -> str:
        """The report as Markdown for a pull request.

        Args:
            path: a file to write it to, with its pictures and the video in a folder beside it; None: text only.
        """
        if path is None:
            return markdown(self._contents(False))
        path, contents = Path(path), self._contents(True)
        files = {
            picture.heading: self._beside(path, f"{place:02}.{picture.kind}", picture.light)
            for place, picture in enumerate(contents.pictures)
        }
        film = None if contents.film is None else self._beside(path, "side_by_side.mp4", contents.film)
        text = markdown(contents, files, film)
        path.write_text(text, encoding="utf-8")
        return text

    def _contents(self, drawn: bool) -> Contents:
        return Contents(
            title=self.title,
            setting=setting(self.subjects[0].run.record),
            cautions=self.cautions,
            headline=readable(self.to_dataframe()),
            closeness=tuple(closeness(subject, self.reference) for subject in self.subjects),
            remarks=self.remarks,
            pictures=self.pictures if drawn else (),
            film=self.film if drawn else None,
            ranks=readable(per_rank(self.subjects)),
            frames=readable(per_frame(self.subjects)),
            records={subject.name: subject.run.record.to_json() for subject in self.subjects},
        )

    @staticmethod
    def _beside(path: Path, name: str, data: bytes) -> str:
        folder = path.with_name(f"{path.stem}_files")
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        return f"{folder.name}/{name}".replace(" ", "%20")

    def __repr__(self) -> str:
        compared = sum(subject.comparison is not None for subject in self.subjects)
        warned = f", {counted(len(self.cautions), 'caution')}" if self.cautions else ""
        return f"Report({counted_runs(self.subjects)}, {compared} compared with {self.reference}{warned})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """The table, the sentences and a small contact sheet."""
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
) -> Report:
    """Put together what a reviewer asks for about runs of one input: speed, memory, errors, pictures, setup.

    Args:
        runs: a run, several, or a mapping of names to runs; without names their plans name them. Of a run that was
            streamed there are time and memory only.
        reference: what outputs are compared with: a run, usually the model's own call on the same cluster, or a tensor.
        reference_name: what to call it; ``"the model's own call"`` where it is one.
        base: the run that speed-up and peaks are held against; the reference where None, or the first run where that
            is a tensor.
        title: of the report.
        notes: further sentences, such as how often calls were made before they were timed.
        perceptual: further measures, each a function of one frame of output and reference (``1 c h w``, float32, not
            clipped) that gives a number: LPIPS, say, with weights that you have.
        data_range: largest minus smallest possible value: 2.0 for samples in -1..1.
        fps: of the video.

    Raises:
        ToolkitError: where there are no runs, shapes, dtypes or inputs differ, or the reference kept no output.

    Example:
        >>> from toolkit.errors import ToolkitError
        >>> try:
        ...     report([], Tensor(1, 3, 8, 8), reference_name="a file")
        ... except ToolkitError as error:
        ...     print(error)
        no runs: give at least one Run, a list, or a mapping of names to runs.
    """
    called = reference_name or _name(reference)
    subjects = gather(named(_others(runs, reference), called), reference, called, data_range, perceptual or {})
    held = next((subject for subject in subjects if subject.run is base), None) if base else subjects[0]
    if held is None:
        raise ToolkitError(f"base={base!r}: must be one of the runs, or the reference.")
    said = [*notes, *remarks(subjects, perceptual or {})]
    return Report(subjects, held, called, title or f"{counted_runs(subjects)} against {called}", said, fps)


def _others(
    runs: Run | Sequence[Run] | Mapping[str, Run], reference: Run | Tensor
) -> Sequence[Run] | Mapping[str, Run]:
    """The runs without the reference, which has its own place."""
    if isinstance(runs, Mapping):
        return {name: run for name, run in runs.items() if run is not reference}
    return [run for run in ([runs] if isinstance(runs, Run) else runs) if run is not reference]


def _name(reference: Run | Tensor) -> str:
    if not isinstance(reference, Run):
        raise ToolkitError("reference is a tensor without a name: say what it is, as reference_name='a file of ...'.")
    return reference.plan.summary if reference.plan else OWN_CALL


def _thumbnail(picture: Picture) -> str:
    """The contact sheet, small enough for a notebook."""
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
