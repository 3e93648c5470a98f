"""Where the points of a sweep come from: a list known in advance, or a search that asks as it goes."""

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
        """The largest possible number of points."""

    @property
    def wanted(self) -> Mapping[str, str]:
        """The objectives, each with ``"minimize"`` or ``"maximize"``."""

    def rounds(self, store: Store) -> Iterator[tuple[Point, Tell]]:
        """Each point, with a function to call with its outcome."""

    def rows(self, store: Store) -> list[Row]:
        """The rows of the table, in order."""


class Listed:
    """Points that are known in advance.

    Args:
        space: A grid or list, as for :func:`~toolkit.sweeps.points.points_of`.
    """

    def __init__(self, space: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        self.points = points_of(space)
        self.names = tuple(self.points[0].values)
        self.total = len(self.points)
        self.wanted: Mapping[str, str] = {}

    def rounds(self, store: Store) -> Iterator[tuple[Point, Tell]]:
        """The points in order; their outcomes change nothing."""
        return ((point, _ignore) for point in self.points)

    def rows(self, store: Store) -> list[Row]:
        """The rows of those points that have ended; a store may also hold points of a larger grid."""
        found = (store.find(point) for point in self.points)
        return [row for row in found if row is not None and row.status != "running"]


def _ignore(row: Row) -> None:
    """Ignore the outcome: a list of points does not depend on it."""
