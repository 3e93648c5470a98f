"""Progress of a sweep: a bar with the remaining time, and one line of text at the end."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Any, Self

from tqdm.auto import tqdm

from toolkit.sweeps.store import Row


class Watch:
    """Counts the outcomes of points.

    In a saved notebook a bar stays at 0 % forever, so a line of text is printed at the end.

    Args:
        total: Number of points.
        show: Whether to show anything.
    """

    def __init__(self, total: int, show: bool) -> None:
        self._total, self._show = total, show
        self._counts: Counter[str] = Counter()
        self._found = 0
        self._stopped = False
        self._bar: Any = None

    def begin(self) -> None:
        """A point is about to run. Points found in the store do not count in the estimate of the remaining time."""
        if self._bar is None:
            shown = {"disable": not self._show, "delay": 0.5, "leave": False}
            self._bar = tqdm(total=self._total, initial=self._found, unit="point", **shown)

    def update(self, row: Row, found: bool) -> None:
        """Count a point that ended or was found in the store."""
        self._counts[row.status] += 1
        self._found += found
        if self._bar is not None:
            self._bar.set_postfix_str(self._outcome(), refresh=False)
            self._bar.update()

    def stop(self) -> None:
        """The sweep ends before all points have."""
        self._stopped = True

    def _outcome(self) -> str:
        return ", ".join(f"{count} {status}" for status, count in sorted(self._counts.items()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._show:
            ended = self._counts.total()
            count = str(ended) if error is None and not self._stopped else f"{ended} of {self._total}"
            found = f"; {self._found} were in the store" if self._found else ""
            print(f"Sweep of {count} points: {self._outcome() or 'none ended'}{found}")
