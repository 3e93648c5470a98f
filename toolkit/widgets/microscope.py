"""A microscope for seams: output, reference and their error in one place, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, isfinite, log2
from typing import Any

import pandas as pd

from toolkit.analysis.compare import Comparison
from toolkit.errors import PlanError, ToolkitError
from toolkit.numerics.metrics import frames
from toolkit.widgets.board import Board, Explorer
from toolkit.widgets.clickable import Click
from toolkit.widgets.microscope_controls import MOST_DOUBLINGS, MOST_SEAMS, NO_SEAM, microscope_controls
from toolkit.widgets.microscope_page import MicroscopeView
from toolkit.widgets.microscope_seams import Seams, worst_cell
from toolkit.widgets.microscope_view import Region
from toolkit.widgets.settings import Setting


class Microscope(Explorer):
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

    controls: Mapping[str, Any]

    def __init__(self, comparison: Comparison, zoom: int, *, amplification: float | None) -> None:
        self._of = comparison
        output, reference = comparison.samples
        self._frames = {"reference": frames(reference), "output": frames(output), "error": frames(comparison.error)}
        self._seams = Seams.of(comparison)
        self._held = False
        start = worst_cell(comparison, self._seams, place=0 if len(self.seams) else None)
        self.controls = microscope_controls(
            self.seams,
            start,
            shape=self._shape,
            frames=len(self._frames["error"]),
            zoom=zoom,
            doublings=_doublings(comparison) if amplification is None else 0,
        )
        if amplification is not None:
            self.amplification = amplification
        super().__init__(Board("Microscope", self.controls, draw=self._draw, clicked=self._clicked))
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
        return Region.around(self.centre, self.zoom, shape=self._shape)

    @property
    def values(self) -> pd.DataFrame:
        """The raw values in the middle: one row per channel, with reference, output and error."""
        h, w = self.centre
        columns = {name: found[self.frame][:, h, w].tolist() for name, found in self._frames.items()}
        return pd.DataFrame(columns).rename_axis("channel")

    def go_to(self, seam: int) -> None:
        """Go to the largest error along a seam.

        Args:
            seam: Row of the seam in ``seams``; 0 is the worst.

        Raises:
            PlanError: If the seam does not exist.
        """
        if seam not in range(len(self.seams)):
            raise PlanError(f"seam={seam!r}: there are {len(self.seams)} seams, numbered from 0, the worst.")
        frame, *centre = worst_cell(self._of, self._seams, place=seam)
        with self._together():
            self.frame, (self.centre_h, self.centre_w) = frame, centre
            self.controls["seam"].value = seam if seam < MOST_SEAMS else NO_SEAM

    @property
    def _shape(self) -> tuple[int, int]:
        height, width = self._of.error.shape[-2:]
        return height, width

    def _clicked(self, click: Click) -> None:
        """Go to the cell that was clicked, in whichever of the pictures."""
        region = self.region
        h, w = (span.start + int(at // self.zoom) for span, at in ((region.h, click.y), (region.w, click.x)))
        if region.h.start <= h < region.h.stop and region.w.start <= w < region.w.stop:
            self.centre = h, w

    def _chosen(self, seam: int) -> None:
        if seam != NO_SEAM and not self._held:
            self.go_to(seam)

    def _left(self) -> None:
        """Clear the chosen seam when the view moves away from it."""
        if not self._held:
            self._held = True
            self.controls["seam"].value = NO_SEAM
            self._held = False

    def _draw(self) -> str:
        if self._held:
            return self._board.html
        view = MicroscopeView(self.region, self.frame, self.centre, self.amplification, self.shown == "signed")
        cells = {name: self.region.cut(found[self.frame]) for name, found in self._frames.items()}
        return view.html(cells, self._seams, names=(self._of.reference, self._of.name), values=self.values)

    def __repr__(self) -> str:
        largest = float(self._frames["error"][self.frame][:, self.centre_h, self.centre_w].abs().max())
        return (
            f"Microscope(frame {self.frame}, centre {self.centre}, zoom {self.zoom}, amplification "
            f"{self.amplification:g}: |error| {largest:.3g} there)"
        )


def microscope(comparison: Comparison, zoom: int = 8, amplification: float | None = None) -> Microscope:
    """Look at single cells of an output and its reference, and at the error between them.

    Three pictures show the same cells. Sliders move, enlarge and amplify all of them, a click brings a cell to the
    middle, and a list jumps to the seams, worst first. The view starts at the largest error along the worst seam, or at
    the largest error if there are no seams.

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
    if not isinstance(comparison, Comparison):
        raise ToolkitError(
            f"a microscope looks at a comparison, not at a {type(comparison).__name__}: pass what "
            "tk.compare(output, reference) returns."
        )
    return Microscope(comparison, zoom, amplification=amplification)


def _doublings(comparison: Comparison) -> int:
    """How often the largest error can be doubled without leaving the scale."""
    largest = comparison.max_abs
    if not (isfinite(largest) and largest > 0):
        return 0
    return min(max(floor(-log2(largest)), 0), MOST_DOUBLINGS)
