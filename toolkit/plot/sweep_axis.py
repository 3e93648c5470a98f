"""One axis of parallel coordinates: a column's values as positions from 0 to 1, with their tick labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from toolkit.plot.sweep_table import brief, numeric, quantity

MAX_RUNGS = 10
"""Most different values of a parameter that are spaced equally, each with a tick label."""
MAX_LABELS = 24
RIBBON = 0.5
"""How much of the distance between two rungs the rows of one rung are spread over."""
WIDE = 100.0
"""Ratio of the largest to the smallest number above which an axis is logarithmic."""
TOP = 0.92
"""Position of the largest finite number if there are infinite ones, which are at 1."""


@dataclass(frozen=True)
class Axis:
    """A column as a vertical axis.

    Attributes:
        title: Name and unit.
        places: Position of each row, 0 to 1; NaN if the row has no value.
        ticks: Positions and labels of the ticks.
    """

    title: str
    places: np.ndarray
    ticks: tuple[tuple[float, str], ...]

    @classmethod
    def ladder(cls, name: str, column: pd.Series) -> Axis:
        """The axis of a parameter, with one rung per value if there are few; words stay in order of appearance."""
        values = list(dict.fromkeys(column.dropna()))
        if numeric(column):
            if len(values) > MAX_RUNGS:
                return cls.scale(name, column)
            values.sort()
        step = 1 / max(1, len(values) - 1)
        rung = {value: i * step if len(values) > 1 else 0.5 for i, value in enumerate(values)}
        places = np.array([rung.get(value, np.nan) for value in column], float)
        every = -(-len(values) // MAX_LABELS)
        ticks = [(place, brief(value)) for i, (value, place) in enumerate(rung.items()) if i % every == 0]
        return cls(name, places, tuple(ticks))

    def spread(self, order: np.ndarray) -> Axis:
        """The same axis with rows side by side at each rung, so that they do not hide each other.

        Args:
            order: Rank of each row, scaled to 0..1.
        """
        step = min([b - a for (a, _), (b, _) in pairwise(sorted(self.ticks))], default=0.5)
        return replace(self, places=self.places + (order - 0.5) * min(RIBBON * step, 0.12))

    @property
    def letters(self) -> int:
        """The length of the longest tick label."""
        return max((len(text) for _, text in self.ticks), default=0)

    @classmethod
    def scale(cls, name: str, column: pd.Series) -> Axis:
        """The axis of a measure, from its lowest to its highest number; logarithmic if they span a factor above 100."""
        values = column.astype(float).to_numpy()
        finite = values[np.isfinite(values)]
        unit = quantity(name, values)
        if not len(finite):
            return cls(unit.title, np.where(np.isposinf(values), 1.0, np.nan), ((1.0, "inf"),))
        low, high = float(finite.min()), float(finite.max())
        top = TOP if np.isposinf(values).any() else 1.0
        # Decibels are logarithms already.
        logarithmic = low > 0 and high / low > WIDE and not unit.title.endswith("(dB)")
        ends = np.log10([low, high]) if logarithmic else np.array([low, high])
        marks = np.linspace(float(ends[0]), float(ends[1]), 5) if high > low else ends[:1]
        with np.errstate(divide="ignore", invalid="ignore"):
            bent = np.log10(values) if logarithmic else values
        places = _between(np.where(np.isfinite(values), bent, np.nan), ends) * top
        places[np.isposinf(values)] = 1.0
        shown = (10**marks if logarithmic else marks) * unit.scale
        ticks = [(place * top, f"{value:.3g}") for place, value in zip(_between(marks, ends), shown, strict=True)]
        title = f"{unit.title}, log" if logarithmic else unit.title
        return cls(title, places, (*ticks, *([(1.0, "inf")] if top < 1 else [])))


def _between(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    low, high = ends
    return (values - low) / (high - low) if high > low else np.where(np.isnan(values), np.nan, 0.5)
