"""The selected rows of a sweep: those with picked values, within the brushed ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import PlanError
from toolkit.plot.sweep_figure import varies
from toolkit.plot.sweep_table import SweepTable, numeric
from toolkit.sweeps.points import values_of
from toolkit.widgets.sweep_controls import Brush, Pick, part_of, pick_of


class Selection:
    """Picks of parameters, and brushes of measures.

    Args:
        space: Values by parameter.
        given: Whether the user gave the values; else they come from a table.
        changed: Function called when a control moves.

    Attributes:
        picks: The pick of each parameter.
        brushes: The brush of each measure that has at least two different values.
    """

    def __init__(self, space: Mapping[str, Any], given: bool, *, changed: Callable[[], None]) -> None:
        self._space, self._changed = space, changed
        self.picks = {name: pick_of(name, values, given=given) for name, values in space.items()}
        self.brushes: dict[str, Brush] = {}
        for pick in self.picks.values():
            pick.control.observe(lambda change: changed(), names="index")

    @property
    def space(self) -> dict[str, Any]:
        """The picked values by parameter; assign to pick others."""
        return {name: part_of(self._space[name], pick.places) for name, pick in self.picks.items()}

    @space.setter
    def space(self, space: Mapping[str, Any]) -> None:
        found = {}
        for name, values in space.items():
            if name not in self.picks:
                raise PlanError(f"{name} is not a parameter of this sweep: choose from {', '.join(self.picks)}.")
            whole = [value.identity for value in values_of(name, self._space[name])]
            given = [value.identity for value in values_of(name, values)]
            if not set(given) <= set(whole):
                raise PlanError(f"{name}={values!r}: must be among {list(self._space[name])}.")
            found[name] = [whole.index(one) for one in given]
        for name, places in found.items():
            self.picks[name].places = places

    @property
    def brushed(self) -> dict[str, tuple[float, float]]:
        """The ends of the narrowed brushes, by measure."""
        return {name: brush.ends for name, brush in self.brushes.items() if not brush.open}

    def brush(self, ends: Mapping[str, tuple[float, float]]) -> None:
        """Narrow the range of each named measure."""
        for name in ends:
            if name not in self.brushes:
                raise PlanError(f"{name} is not a measure that varies: choose from {', '.join(self.brushes)}.")
        for name, pair in ends.items():
            self.brushes[name].ends = pair

    @property
    def controls(self) -> dict[str, Any]:
        """All controls by name, in Tab order."""
        moved: dict[str, Pick | Brush] = {**self.picks, **self.brushes}
        return {name: one.control for name, one in moved.items()}

    @property
    def points(self) -> int:
        """Number of picked points."""
        found = 1
        for pick in self.picks.values():
            found *= len(pick.places)
        return found

    def picked(self, found: pd.DataFrame) -> np.ndarray:
        """Which rows have picked values."""
        return _all(self.picks, found)

    def kept(self, found: pd.DataFrame) -> np.ndarray:
        """Which rows have picked values and are within all ranges."""
        return self.picked(found) & _all(self.brushes, found)

    def brush_what_varies(self, read: SweepTable) -> None:
        """Make a brush for every measure that varies, and give existing brushes the new values."""
        for name in read.measures:
            column = read.rows[name].where(read.done)
            if numeric(column) and varies(read.rows, name):
                if name in self.brushes:
                    self.brushes[name].update(column)
                else:
                    self.brushes[name] = Brush(name, column, changed=self._changed)


def _all(moved: Mapping[str, Pick | Brush], found: pd.DataFrame) -> np.ndarray:
    kept = np.ones(len(found), bool)
    for name, one in moved.items():
        kept &= one.keeps(found[name])
    return kept
