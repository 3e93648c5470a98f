"""A microscope for seams: output, reference and their error in one place, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from html import escape
from math import floor, isfinite, log2
from typing import Any

import pandas as pd
from ipywidgets import Dropdown, FloatLogSlider, Layout, Widget

from toolkit.analysis.compare import Comparison
from toolkit.errors import PlanError
from toolkit.geometry.drawing.html import cell, table, word
from toolkit.numerics.metrics import frames
from toolkit.widgets.board import Board, bundle
from toolkit.widgets.markup import page, picture
from toolkit.widgets.microscope_seams import Seams, in_words, worst_cell
from toolkit.widgets.microscope_view import Region, colours, error_colours, png
from toolkit.widgets.settings import Setting, choice, count

NO_SEAM = -1
MOST_ZOOM, MOST_DOUBLINGS, MOST_SEAMS, MOST_CHANNELS, LETTERS = 32, 16, 60, 16, 36


class Microscope:
    """An enlarged place of a comparison. Made by :func:`microscope`.

    Every setting can be read and assigned: ``microscope.centre = 64, 32`` moves the sliders.

    Attributes:
        centre_h: Row of the cell in the middle.
        centre_w: Column of the cell in the middle.
        zoom: Side of each cell, in screen pixels.
        shown: ``"absolute"`` or ``"signed"`` errors.
        controls: Sliders and lists, by name.
    """

    centre_h = Setting[int]()
    centre_w = Setting[int]()
    zoom = Setting[int]()
    shown = Setting[str]()

    def __init__(self, comparison: Comparison, zoom: int, amplification: float | None) -> None:
        self._of = comparison
        output, reference = comparison.samples
        self._frames = {"reference": frames(reference), "output": frames(output), "error": frames(comparison.error)}
        self._seams = Seams.of(comparison)
        self._held = False
        start = worst_cell(comparison, self._seams, 0 if len(self.seams) else None)
        self.controls = self._controls(start, zoom, _doublings(comparison) if amplification is None else 0)
        if amplification is not None:
            self.amplification = amplification
        self._board = Board("Microscope", self.controls, self._draw)
        for name in ("frame", "centre_h", "centre_w"):
            if name in self.controls:
                self.controls[name].observe(lambda change: self._left(), names="value")
        self.controls["seam"].observe(lambda change: self._chosen(change.new), names="value")

    @property
    def frame(self) -> int:
        """The frame, numbered in the order ``(b t)``."""
        return int(self.controls["frame"].value) if "frame" in self.controls else 0

    @frame.setter
    def frame(self, value: int) -> None:
        most = len(self._frames["error"]) - 1
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise PlanError(f"frame={value!r}: must be an int from 0 to {most}.")
        if "frame" in self.controls:
            self.controls["frame"].value = value

    @property
    def centre(self) -> tuple[int, int]:
        """Row and column of the cell in the middle."""
        return self.centre_h, self.centre_w

    @centre.setter
    def centre(self, value: tuple[int, int]) -> None:
        before = self.centre
        with self._together():
            try:
                self.centre_h, self.centre_w = value
            except PlanError:
                self.centre_h, self.centre_w = before
                raise
        self._left()

    @property
    def amplification(self) -> float:
        """Factor on errors before they are drawn: errors of ``1 / amplification`` get the last colour of the scale."""
        return float(self.controls["amplification"].value)

    @amplification.setter
    def amplification(self, value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 2**MOST_DOUBLINGS:
            raise PlanError(f"amplification={value!r}: must be a number from 1 to {2**MOST_DOUBLINGS}.")
        self.controls["amplification"].value = value

    @property
    def seams(self) -> pd.DataFrame:
        """The seams, worst first: axis, position, tiles, ratio of the error to the interior's, and more."""
        return self._seams.table

    @property
    def region(self) -> Region:
        """The visible cells."""
        return Region.around(self.centre, self.zoom, self._shape)

    @property
    def values(self) -> pd.DataFrame:
        """The raw values in the middle: one row per channel, with reference, output and error."""
        h, w = self.centre
        columns = {name: found[self.frame][:, h, w].tolist() for name, found in self._frames.items()}
        return pd.DataFrame(columns).rename_axis("channel")

    @property
    def widget(self) -> Widget:
        """The sliders and the pictures."""
        return self._board.widget

    @property
    def html(self) -> str:
        """What is shown now, for pages without a kernel."""
        return self._board.html

    def go_to(self, seam: int) -> None:
        """Go to the largest error along a seam.

        Args:
            seam: Row of the seam in ``seams``; 0 is the worst.

        Raises:
            PlanError: If the seam does not exist.
        """
        if seam not in range(len(self.seams)):
            raise PlanError(f"seam={seam!r}: there are {len(self.seams)} seams, numbered from 0, the worst.")
        frame, *centre = worst_cell(self._of, self._seams, seam)
        with self._together():
            self.frame, (self.centre_h, self.centre_w) = frame, centre
            self.controls["seam"].value = seam if seam < MOST_SEAMS else NO_SEAM

    @property
    def _shape(self) -> tuple[int, int]:
        height, width = self._of.error.shape[-2:]
        return height, width

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Move several controls, then draw once."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._board.redraw()

    def _chosen(self, seam: int) -> None:
        if seam != NO_SEAM and not self._held:
            self.go_to(seam)

    def _left(self) -> None:
        """Clear the chosen seam when the view moves away from it."""
        if not self._held:
            self._held = True
            self.controls["seam"].value = NO_SEAM
            self._held = False

    def _controls(self, start: tuple[int, int, int], zoom: int, doublings: int) -> dict[str, Any]:
        frame, h, w = start
        height, width = self._shape
        look: dict[str, Any] = {"style": {"description_width": "6.5em"}, "tabbable": True}
        look["layout"] = Layout(width="23em")
        seams = [("-", NO_SEAM)]
        for place, (_, row) in enumerate(self.seams.head(MOST_SEAMS).iterrows()):
            seams.append((in_words(place, row), place))
        amplified = "Factor on errors before they are drawn; every step doubles it."
        controls: dict[str, Any] = {
            "seam": Dropdown(
                options=seams,
                value=0 if len(seams) > 1 else NO_SEAM,
                description="go to seam",
                tooltip="Worst first, by the ratio of the error there to the interior's.",
                disabled=len(seams) == 1,
                **look,
            ),
            "centre_h": count("centre h", h, height - 1, "Row of the cell in the middle, in pixels.", least=0),
            "centre_w": count("centre w", w, width - 1, "Column of the cell in the middle, in pixels.", least=0),
            "zoom": count("zoom", zoom, MOST_ZOOM, "Screen pixels along a side of each pixel of the frame."),
            "amplification": FloatLogSlider(
                2.0**doublings, base=2, min=0, max=MOST_DOUBLINGS, step=1, readout_format="d",
                description="amplification", tooltip=amplified, **look,
            ),
            "shown": choice("error", ["absolute", "signed"], "absolute", "Whether colours show the error's sign."),
        }  # fmt: skip
        if len(self._frames["error"]) > 1:
            last = len(self._frames["error"]) - 1
            controls["frame"] = count("frame", frame, last, "Frame, numbered in the order (b t).", least=0)
        return controls

    def _draw(self) -> str:
        if self._held:
            return self._board.html
        region, frame, signed = self.region, self.frame, self.shown == "signed"
        cells = {name: region.cut(found[frame]) for name, found in self._frames.items()}
        pictures = {
            f"reference: {_short(self._of.reference)}": colours(cells["reference"]),
            f"output: {_short(self._of.name)}": colours(cells["output"]),
            self._legend(signed): error_colours(cells["error"], self.amplification, signed),
        }
        where = f"frame {frame}, h {region.h}, w {region.w} px"
        views = [
            f'<div><div class="tk-soft">{escape(name)}</div>'
            f"{picture(png(pixels, region, self._seams, self.centre), f'{name}; {where}', pixels.shape[1] * self.zoom)}"
            "</div>"
            for name, pixels in pictures.items()
        ]
        facts = f"{where}, enlarged {self.zoom} times; seams dashed, edges of overlaps dotted"
        return page("Microscope", facts, f'<div class="tk-row">{"".join(views)}</div>{self._table()}')

    def _legend(self, signed: bool) -> str:
        end = f"{1 / self.amplification:.3g}"
        if signed:
            return f"error: blue -{end}, white 0, red +{end}"
        return f"|error|: dark 0, yellow {end} or more"

    def _table(self) -> str:
        h, w = self.centre
        values = self.values
        rows = [
            [cell(channel), *(cell(f"{value:.7g}") for value in row)]
            for channel, *row in values.head(MOST_CHANNELS).itertuples()
        ]
        if len(values) > MOST_CHANNELS:
            rows.append([word(f"{len(values) - MOST_CHANNELS} more"), *[cell("")] * 3])
        head = table(["channel", *values.columns], rows)
        return f"<p>Raw values in the box, at h {h}, w {w}:</p>{head}"

    def __repr__(self) -> str:
        largest = float(self._frames["error"][self.frame][:, self.centre_h, self.centre_w].abs().max())
        return (
            f"Microscope(frame {self.frame}, centre {self.centre}, zoom {self.zoom}, amplification "
            f"{self.amplification:g}: |error| {largest:.3g} there)"
        )

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, Any]:
        return bundle(self.widget, repr(self), self.html, include, exclude)


def microscope(comparison: Comparison, zoom: int = 8, amplification: float | None = None) -> Microscope:
    """Look at single cells of an output and its reference, and at the error between them.

    Three pictures show the same cells. Sliders move, enlarge and amplify all of them, and a list jumps to the seams,
    worst first. The view starts at the largest error along the worst seam, or at the largest error if there are no
    seams.

    Args:
        comparison: The result of :func:`toolkit.compare`.
        zoom: Initial side of each cell in screen pixels, 1 to 32.
        amplification: Initial factor on errors; by default the largest power of two that keeps all errors on the scale.

    Raises:
        PlanError: If a value is outside its slider's range.

    Example:
        >>> import torch
        >>> from toolkit.analysis.compare import compare
        >>> sample = torch.zeros(1, 3, 32, 48)
        >>> off = sample.clone()
        >>> off[0, 1, 20, 40] = 0.1
        >>> view = microscope(compare(off, sample, name="tiled", reference_name="untiled"))
        >>> view
        Microscope(frame 0, centre (20, 40), zoom 8, amplification 8: |error| 0.1 there)
        >>> view.centre = 4, 5
        >>> view.values["error"].tolist()
        [0.0, 0.0, 0.0]
    """
    return Microscope(comparison, zoom, amplification)


def _doublings(comparison: Comparison) -> int:
    """How often the largest error can be doubled without leaving the scale."""
    largest = comparison.max_abs
    if not (isfinite(largest) and largest > 0):
        return 0
    return min(max(floor(-log2(largest)), 0), MOST_DOUBLINGS)


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 3]}..."
