"""Where the points of a sweep come from: a list that is known beforehand, or a search that asks as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from toolkit.sweeps.points import Point, points_of
from toolkit.sweeps.store import Row, Store

Tell = Callable[[Row], None]


class Space(Protocol):
    """A source of points."""

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, in the order of the table's columns."""

    @property
    def total(self) -> int:
        """How many points there will be at most."""

    @property
    def wanted(self) -> Mapping[str, str]:
        """The measures that it is about, each with ``"minimize"`` or ``"maximize"``."""

    def rounds(self, store: Store) -> Iterator[tuple[Point, Tell]]:
        """Each point, with whom to tell what became of it."""

    def rows(self, store: Store) -> list[Row]:
        """What belongs into the table, in its order."""


class Listed:
    """Points that are known beforehand.

    Args:
        space: as :func:`~toolkit.sweeps.points.points_of` takes it.
    """

    def __init__(self, space: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        self.points = points_of(space)
        self.names = tuple(self.points[0].values)
        self.total = len(self.points)
        self.wanted: Mapping[str, str] = {}

    def rounds(self, store: Store) -> Iterator[tuple[Point, Tell]]:
        """The points in order; nobody needs telling."""
        return ((point, _nobody) for point in self.points)

    def rows(self, store: Store) -> list[Row]:
        """The rows of those points that ended: a store may hold those of a larger grid."""
        found = (store.find(point) for point in self.points)
        return [row for row in found if row is not None and row.status != "running"]


def _nobody(row: Row) -> None:
    """A list does not change with what became of its points."""
