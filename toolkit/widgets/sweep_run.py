"""A sweep on its own thread: rows as they come, and a way to end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd

from toolkit.cluster import Cluster
from toolkit.errors import RunCancelled, ToolkitError
from toolkit.sweeps.outcome import in_words
from toolkit.sweeps.points import points_of
from toolkit.sweeps.sweep import sweep
from toolkit.widgets.sweep_controls import comparable

INTERVAL = 0.1
"""Least seconds between two updates."""


class SweepRun:
    """Runs the picked points, and keeps the rows of all points.

    Rows are numbered by the position of their point in the whole space, whatever is picked.

    Args:
        function: The function, as for :func:`toolkit.sweep`.
        space: The whole space, values by parameter.
        store: The store, as for :func:`toolkit.sweep`.
        cluster: The cluster that the function uses, if any; its run is cancelled together with the sweep.
        changed: Function called when there is something new, from any thread.

    Attributes:
        table: All known rows.
        outcome: ``"not started"``, ``"running"``, ``"done"``, ``"cancelled"`` or ``"failed"``.
        error: The error of a sweep that failed as a whole.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        space: Mapping[str, Any],
        *,
        store: str | Path | None,
        cluster: Cluster | None,
        changed: Callable[[], None],
    ) -> None:
        self._function, self._store, self._cluster, self._changed = function, store, cluster, changed
        points = enumerate(points_of(space))
        self._places = {tuple(map(comparable, point.shown.values())): place for place, point in points}
        self._parameters = list(space)
        self._thread, self._cancelled = threading.Thread(), threading.Event()
        self._seen = 0.0
        self.outcome, self.error = "not started", ""
        self.table = pd.DataFrame(columns=[*space, "status"])
        if store is not None and Path(store).exists():
            self._take(sweep(function, space, store=store, progress=False, stop=lambda table: True))

    def start(self, space: Mapping[str, Any]) -> None:
        """Run the points of a part of the whole space."""
        if self._thread.is_alive():
            raise ToolkitError("a sweep is already running: wait() for it or cancel() it first.")
        self._cancelled.clear()
        self.outcome, self.error = "running", ""
        self._thread = threading.Thread(target=self._run, args=(space,), name="toolkit-sweep", daemon=True)
        self._thread.start()

    def cancel(self, wait: bool = True) -> None:
        """End the sweep: at once if the point in flight is a run on the known cluster, else after that point."""
        if not self._thread.is_alive():
            return
        self._cancelled.set()
        if wait:
            self.wait()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds until the sweep has ended; returns whether it has."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self, space: Mapping[str, Any]) -> None:
        outcome = "failed"
        try:
            # Cancels only runs that this thread starts: the cluster may be in use for something else.
            with nullcontext() if self._cluster is None else self._cluster.cancelled_by(self._cancelled):
                self._take(sweep(self._function, space, store=self._store, progress=False, stop=self._asked))
            outcome = "cancelled" if self._cancelled.is_set() else "done"
        except RunCancelled:
            outcome = "cancelled"
        except BaseException as error:  # on this thread nobody else would see it
            self.error = in_words(error)
        finally:
            self.outcome = outcome
            self._changed()

    def _asked(self, table: pd.DataFrame) -> bool:
        self._take(table)
        if time.monotonic() - self._seen > INTERVAL:
            self._changed()
            self._seen = time.monotonic()
        return self._cancelled.is_set()

    def _take(self, table: pd.DataFrame) -> None:
        """Number the new rows, and let them replace old rows of the same points."""
        rows = zip(*(map(comparable, table[name]) for name in self._parameters), strict=True)
        new = table.set_axis([self._places[row] for row in rows], axis="index")
        old = self.table.drop(index=new.index, errors="ignore")
        merged = (pd.concat([old, new]) if len(old) else new).sort_index()
        about, before = table.attrs["sweep"], self.table.attrs.get("sweep", {}).get("measures", ())
        merged.attrs["sweep"] = about | {"measures": list(dict.fromkeys([*before, *about["measures"]]))}
        self.table = merged
