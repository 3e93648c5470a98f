"""The page of a microscope: reference, output and error side by side, and the raw values in the middle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.geometry.drawing.html import cell, table, word
from toolkit.widgets.markup import page, picture
from toolkit.widgets.microscope_seams import Seams
from toolkit.widgets.microscope_view import Region, colours, error_colours, png

MOST_CHANNELS, LETTERS = 16, 36


@dataclass(frozen=True, slots=True)
class MicroscopeView:
    """The settings that decide what a microscope shows.

    Attributes:
        region: The visible cells.
        frame: The frame, numbered in the order ``(b t)``.
        centre: Row and column of the cell in the middle.
        amplification: Factor on errors before they are drawn.
        signed: Whether colours show the error's sign.
    """

    region: Region
    frame: int
    centre: tuple[int, int]
    amplification: float
    signed: bool

    def html(
        self,
        cells: Mapping[str, npt.NDArray[np.float64]],
        seams: Seams,
        *,
        names: tuple[str, str],
        values: pd.DataFrame,
    ) -> str:
        """The whole page.

        Args:
            cells: The visible cells of ``"reference"``, ``"output"`` and ``"error"``.
            seams: The seams.
            names: Names of reference and output.
            values: Raw values in the middle, one row per channel.
        """
        pictures = {
            f"reference: {_short(names[0])}": colours(cells["reference"]),
            f"output: {_short(names[1])}": colours(cells["output"]),
            self._legend: error_colours(cells["error"], self.amplification, signed=self.signed),
        }
        where = f"frame {self.frame}, h {self.region.h}, w {self.region.w} px"
        views = []
        for name, pixels in pictures.items():
            drawn = png(pixels, self.region, seams=seams, centre=self.centre)
            shown = picture(drawn, f"{name}; {where}", width=pixels.shape[1] * self.region.zoom)
            views.append(f'<div><div class="tk-soft">{escape(name)}</div>{shown}</div>')
        facts = f"{where}, enlarged {self.region.zoom} times; seams dashed, edges of overlaps dotted"
        return page("Microscope", facts, body=f'<div class="tk-row">{"".join(views)}</div>{self._values(values)}')

    @property
    def _legend(self) -> str:
        end = f"{1 / self.amplification:.3g}"
        if self.signed:
            return f"error: blue -{end}, white 0, red +{end}"
        return f"|error|: dark 0, yellow {end} or more"

    def _values(self, values: pd.DataFrame) -> str:
        h, w = self.centre
        rows = [
            [cell(channel), *(cell(f"{value:.7g}") for value in row)]
            for channel, *row in values.head(MOST_CHANNELS).itertuples()
        ]
        if len(values) > MOST_CHANNELS:
            rows.append([word(f"{len(values) - MOST_CHANNELS} more"), *[cell("")] * 3])
        return f"<p>Raw values in the box, at h {h}, w {w}:</p>{table(['channel', *values.columns], rows)}"


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 3]}..."
