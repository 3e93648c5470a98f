"""Controls of a sweep: which values of a parameter are picked, which range of a measure is brushed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
import pandas as pd
from ipywidgets import Layout, SelectionRangeSlider

from toolkit.errors import PlanError
from toolkit.plot.sweep_table import brief, missing, quantity
from toolkit.sweeps.points import values_of
from toolkit.widgets.tick_boxes import Checks

MOST_PICKS = 10
"""So many different numbers of a parameter are picked by boxes; more are, on a slider."""
MOST_STOPS = 200
"""So many places at which a brush can end, at most."""
_LOOK: dict[str, Any] = {"style": {"description_width": "6.5em"}, "tabbable": True}


class Pick:
    """Which values of a parameter are picked: all, until somebody says otherwise.

    Args:
        name: of the parameter.
        shown: its values, as the table shows them.
        ordered: whether to pick a run of them on a slider, and not any of them by boxes.

    Attributes:
        control: the boxes or the slider.
    """

    def __init__(self, name: str, shown: Sequence[Any], ordered: bool) -> None:
        self.name = name
        self._known = tuple(map(comparable, shown))
        options = list(zip(distinct([brief(value) for value in shown]), range(len(shown)), strict=True))
        if ordered and len(options) > 1:  # a slider needs two ends
            self.control: Any = SelectionRangeSlider(
                options=options,
                index=(0, len(options) - 1),
                description=name,
                tooltip="The values from the one end to the other.",
                layout=Layout(width="23em"),
                **_LOOK,
            )
        else:
            self.control = Checks([text for text, _ in options], name, "Runs leave out what is not ticked.")

    @property
    def places(self) -> tuple[int, ...]:
        """Which of the values are picked."""
        index: tuple[int, ...] = self.control.index
        return tuple(range(index[0], index[1] + 1)) if isinstance(self.control, SelectionRangeSlider) else index

    @places.setter
    def places(self, places: Iterable[int]) -> None:
        found = tuple(sorted(set(places)))
        if not isinstance(self.control, SelectionRangeSlider):
            self.control.index = found
            return
        if not found or found != tuple(range(found[0], found[-1] + 1)):
            raise PlanError(f"{self.name}: a slider picks neighbours only, and at least one.")
        self.control.index = found[0], found[-1]

    def keeps(self, column: pd.Series) -> np.ndarray:
        """Which rows have a picked value."""
        picked = {self._known[place] for place in self.places}
        return np.array([comparable(value) in picked for value in column], bool)


class Brush:
    """A range of a measure: of all its values, until somebody narrows it.

    It stops at the values that there are, so that what it says it keeps is what it keeps, to the last digit.

    Args:
        name: of the measure.
        changed: called when somebody has moved it.

    Attributes:
        control: the slider.
    """

    def __init__(self, name: str, column: pd.Series, changed: Callable[[], None]) -> None:
        self.name = name
        self._low, self._high = -inf, inf
        self._stops: tuple[float, ...] = ()
        self._changed = changed
        self._quiet = False
        self.control = SelectionRangeSlider(
            options=["low", "high"],
            tooltip="Rows outside of this range fade.",
            layout=Layout(width="27em"),
            continuous_update=True,
            **_LOOK,
        )
        self.update(column)
        self.control.observe(lambda change: self._moved(), names="index")

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value that it keeps; infinite where it is not narrowed."""
        return self._low, self._high

    @ends.setter
    def ends(self, ends: tuple[float, float]) -> None:
        low, high = ends
        if not low <= high:
            raise PlanError(f"{self.name}={ends}: must be a low and a high end.")
        inside = [stop for stop in self._stops if low <= stop <= high]
        if not inside:
            raise PlanError(
                f"{self.name}={ends}: holds no row; its values go from {self._stops[0]:g} to {self._stops[-1]:g}."
            )
        self._low, self._high = low, high
        self._place()

    @property
    def open(self) -> bool:
        """Whether it is not narrowed."""
        return self.ends == (-inf, inf)

    def update(self, column: pd.Series) -> None:
        """Stop at the values of a column, which are at least two; the ends stay where they are."""
        values = np.unique(column.dropna().astype(float))
        if len(values) > MOST_STOPS:
            values = values[np.linspace(0, len(values) - 1, MOST_STOPS).round().astype(int)]
        stops = tuple(values.tolist())
        if stops != self._stops:
            self._stops = stops
            self._place()

    def keeps(self, column: pd.Series) -> np.ndarray:
        """Which rows are within its ends: all where it is open, also those without a value."""
        if self.open:
            return np.ones(len(column), bool)
        values = column.astype(float).to_numpy()
        return np.asarray((values >= self._low) & (values <= self._high))

    def _place(self) -> None:
        """Put the slider where the ends are, in one message."""
        unit = quantity(self.name, self._stops)
        last = len(self._stops) - 1
        left = min(int(np.searchsorted(self._stops, self._low, "left")), last)
        right = max(int(np.searchsorted(self._stops, self._high, "right")) - 1, left)
        self._quiet = True
        with self.control.hold_sync():
            self.control.description = unit.title
            self.control.options = distinct([f"{stop * unit.scale:.4g}" for stop in self._stops])
            self.control.index = left, right
        self._quiet = False

    def _moved(self) -> None:
        if not self._quiet:
            left, right = self.control.index
            self._low = self._stops[left] if left else -inf
            self._high = self._stops[right] if right < len(self._stops) - 1 else inf
            self._changed()


def comparable(value: Any) -> tuple[bool, Any]:
    """A cell, equal to the value that it shows: tables turn None into NaN, and 1 is no truth value.

    Example:
        >>> comparable(None) == comparable(float("nan")), comparable(1) == comparable(True)
        (True, False)
    """
    return isinstance(value, bool | np.bool_), None if missing(value) else value


def distinct(texts: Sequence[str]) -> list[str]:
    """Texts of which no two are equal: a control knows its options by their texts.

    Example:
        >>> distinct(["1.5", "2", "1.5"])
        ['1.5', '2', '1.5 (2)']
    """
    seen: dict[str, int] = {}
    found = []
    for text in texts:
        seen[text] = seen.get(text, 0) + 1
        found.append(text if seen[text] == 1 else f"{text} ({seen[text]})")
    return found


def pick_of(name: str, values: Any, given: bool) -> Pick:
    """A slider for a range and for many numbers in their order, else boxes to tick."""
    shown: list[Any] = [value.shown for value in values_of(name, values)] if given else list(values)
    plain = all(isinstance(value, int | float) and not isinstance(value, bool) for value in shown)
    many = len(shown) > MOST_PICKS and plain and shown == sorted(shown)
    return Pick(name, shown, isinstance(values, range) or many)


def part_of(values: Any, places: Sequence[int]) -> Any:
    """Some of the values of a parameter, with their names where they have names."""
    if isinstance(values, Mapping):
        names = list(values)
        return {names[place]: values[names[place]] for place in places}
    return [list(values)[place] for place in places]
