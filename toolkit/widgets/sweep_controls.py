"""Controls of a sweep: picks select values of a parameter, brushes select a range of a measure."""

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
"""Most different numbers of a parameter that get check boxes; more get a slider."""
MOST_STOPS = 200
"""Most positions at which a brush can end."""
_LOOK: dict[str, Any] = {"style": {"description_width": "6.5em"}, "tabbable": True}


class Pick:
    """The picked values of a parameter; initially all.

    Args:
        name: The parameter's name.
        shown: Its values, as the table shows them.
        ordered: Whether to pick a contiguous range with a slider rather than any values with check boxes.

    Attributes:
        control: The check boxes or the slider.
    """

    def __init__(self, name: str, shown: Sequence[Any], *, ordered: bool) -> None:
        self.name = name
        self._known = tuple(map(comparable, shown))
        options = list(zip(distinct([brief(value) for value in shown]), range(len(shown)), strict=True))
        if ordered and len(options) > 1:  # a slider needs two ends
            self.control: Any = SelectionRangeSlider(
                options=options,
                index=(0, len(options) - 1),
                description=name,
                tooltip="The values between the two ends.",
                layout=Layout(width="23em"),
                **_LOOK,
            )
        else:
            self.control = Checks(
                [text for text, _ in options], name, tooltip="Values that are not ticked are not run."
            )

    @property
    def places(self) -> tuple[int, ...]:
        """Positions of the picked values."""
        index: tuple[int, ...] = self.control.index
        return tuple(range(index[0], index[1] + 1)) if isinstance(self.control, SelectionRangeSlider) else index

    @places.setter
    def places(self, places: Iterable[int]) -> None:
        found = tuple(sorted(set(places)))
        if not isinstance(self.control, SelectionRangeSlider):
            self.control.index = found
            return
        if not found or found != tuple(range(found[0], found[-1] + 1)):
            raise PlanError(f"{self.name}: a slider can only pick neighbouring values, and at least one.")
        self.control.index = found[0], found[-1]

    def keeps(self, column: pd.Series) -> np.ndarray:
        """Which rows have a picked value."""
        picked = {self._known[place] for place in self.places}
        return np.array([comparable(value) in picked for value in column], bool)


class Brush:
    """A range of a measure; initially all values.

    The slider stops at the values that occur in the table, so the ends that it shows are exact.

    Args:
        name: The measure's name.
        column: Its values.
        changed: Function called when a user moves the slider.

    Attributes:
        control: The slider.
    """

    def __init__(self, name: str, column: pd.Series, *, changed: Callable[[], None]) -> None:
        self.name = name
        self._low, self._high = -inf, inf
        self._stops: tuple[float, ...] = ()
        self._changed = changed
        self._quiet = False
        self.control = SelectionRangeSlider(
            options=["low", "high"],
            tooltip="Rows outside this range fade.",
            layout=Layout(width="27em"),
            # If it were continuous, ipywidgets' slider would take new stops for a move by the user: it puts the new
            # place on its old stops first, reports that, and keeps them. Then a move means other stops than shown.
            continuous_update=False,
            **_LOOK,
        )
        self.update(column)
        self.control.observe(lambda change: self._moved(), names="index")

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value in the range; infinite if the brush is not narrowed."""
        return self._low, self._high

    @ends.setter
    def ends(self, ends: tuple[float, float]) -> None:
        low, high = ends
        if not low <= high:
            raise PlanError(f"{self.name}={ends}: must be the low end and the high end, in this order.")
        inside = [stop for stop in self._stops if low <= stop <= high]
        if not inside:
            raise PlanError(
                f"{self.name}={ends}: no row is in this range; values go from {self._stops[0]:g} to "
                f"{self._stops[-1]:g}."
            )
        self._low, self._high = low, high
        self._place()

    @property
    def open(self) -> bool:
        """Whether the brush keeps all rows."""
        return self.ends == (-inf, inf)

    def update(self, column: pd.Series) -> None:
        """Set the stops to the values of a column, of which there must be at least two; the ends keep their values."""
        values = np.unique(column.dropna().astype(float))
        if len(values) > MOST_STOPS:
            values = values[np.linspace(0, len(values) - 1, MOST_STOPS).round().astype(int)]
        stops = tuple(values.tolist())
        if stops != self._stops:
            self._stops = stops
            self._place()

    def keeps(self, column: pd.Series) -> np.ndarray:
        """Which rows are in the range; an open brush also keeps rows without a value."""
        if self.open:
            return np.ones(len(column), bool)
        values = column.astype(float).to_numpy()
        return np.asarray((values >= self._low) & (values <= self._high))

    def _place(self) -> None:
        """Move the slider to the ends, in one message to the front end."""
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
    """A cell in a form that compares as its value does: tables turn None into NaN, and 1 must not equal True.

    Example:
        >>> comparable(None) == comparable(float("nan")), comparable(1) == comparable(True)
        (True, False)
    """
    return isinstance(value, bool | np.bool_), None if missing(value) else value


def distinct(texts: Sequence[str]) -> list[str]:
    """Texts made different from each other, because a control identifies options by their text.

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


def pick_of(name: str, values: Any, *, given: bool) -> Pick:
    """A slider for a range or for many ordered numbers, else check boxes."""
    shown: list[Any] = [value.shown for value in values_of(name, values)] if given else list(values)
    plain = all(isinstance(value, int | float) and not isinstance(value, bool) for value in shown)
    many = len(shown) > MOST_PICKS and plain and shown == sorted(shown)
    return Pick(name, shown, ordered=isinstance(values, range) or many)


def part_of(values: Any, places: Sequence[int]) -> Any:
    """Some of the values of a parameter, with their names if they have any."""
    if isinstance(values, Mapping):
        names = list(values)
        return {names[place]: values[names[place]] for place in places}
    return [list(values)[place] for place in places]
