"""Explore a sweep: pick values, run, brush, and look at one configuration and the code that runs it again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from toolkit.cluster import Cluster
from toolkit.errors import PlanError, ToolkitError
from toolkit.plot.sweep_figure import first_objective
from toolkit.plot.sweep_table import SweepTable, numbers
from toolkit.sweeps.points import points_of
from toolkit.sweeps.sweep import reproduce
from toolkit.widgets.board import Shown
from toolkit.widgets.clickable import Click
from toolkit.widgets.sweep_panel import SweepPanel
from toolkit.widgets.sweep_points import best, readable, values_in
from toolkit.widgets.sweep_run import SweepRun
from toolkit.widgets.sweep_selection import Selection
from toolkit.widgets.sweep_view import drawing, nothing, row_at


class SweepExplorer(Shown):
    """A sweep that can be run, brushed and read. Made by :func:`sweep`.

    Attributes:
        widget: The widget that a notebook shows.
        panel: Its parts.
        run: Runs the points; None if there is only a table.
        selection: The picked values and the brushed ranges.
    """

    run: SweepRun | None
    selection: Selection
    panel: SweepPanel

    def __init__(self, table: pd.DataFrame | None, space: Mapping[str, Any], *, objective: str | None) -> None:
        self._table, self._objective = table, objective
        self._lock, self._shown_by = threading.Lock(), 0
        self._point: Any = None
        self._chosen = False  # whether the user chose the point; until then it is the best row so far
        self.run = None
        self.selection = Selection(space, table is None, changed=self.refresh)
        self.panel = SweepPanel(
            self.selection.controls,
            press_run=self._pressed,
            press_cancel=lambda: self.cancel(wait=False),
            choose=self._listed,
            clicked=self._clicked,
        )
        self.widget = self.panel.widget

    @property
    def table(self) -> pd.DataFrame:
        """All rows."""
        found = self._table if self.run is None else self.run.table
        assert found is not None
        return found

    @property
    def selected(self) -> pd.DataFrame:
        """The rows that are picked and brushed."""
        return self.table[self.selection.kept(self.table)]

    @property
    def point(self) -> Any:
        """The label of the row in focus; None if there is no row.

        This is the best of the selected rows until the user chooses another in the list or assigns one here, and again
        when that row is no longer selected.
        """
        return self._point

    @point.setter
    def point(self, label: Any) -> None:
        if label not in self.selected.index:
            raise PlanError(f"point={label!r} is not a selected row: choose one of {list(self.selected.index[:9])}.")
        self._point, self._chosen = label, True
        self.refresh()

    @property
    def snippet(self) -> str:
        """The program that runs the point again.

        Raises:
            ToolkitError: If there is no point, or its values cannot be written as code.
        """
        if self._point is None:
            raise ToolkitError("no point is selected, so there is nothing to run again: choose a point first.")
        return reproduce(self.table, self._point)

    @property
    def space(self) -> dict[str, Any]:
        """The picked values by parameter; assign to pick others."""
        return self.selection.space

    @space.setter
    def space(self, space: Mapping[str, Any]) -> None:
        self.selection.space = space

    @property
    def brushed(self) -> dict[str, tuple[float, float]]:
        """The ends of the narrowed brushes, by measure."""
        return self.selection.brushed

    def brush(self, **ends: tuple[float, float]) -> None:
        """Keep only rows within the given ends (inclusive) of each named measure; ``(-inf, inf)`` keeps all rows.

        Raises:
            PlanError: If a measure does not exist, or has no values in the range.
        """
        self.selection.brush(ends)
        self.refresh()

    @property
    def controls(self) -> dict[str, Any]:
        """All controls by name, in Tab order."""
        return self.selection.controls | {"point": self.panel.points.control}

    @property
    def html(self) -> str:
        """What is shown now, for pages without a kernel."""
        return self.panel.html

    def start(self) -> None:
        """Run the picked points, as the button does.

        Raises:
            ToolkitError: If there is nothing to run, or a sweep is running.
        """
        if self.run is None:
            raise ToolkitError(
                "there is no function to run, only a table: make the explorer with sweep(function, space)."
            )
        points_of(self.space)
        self.run.start(self.space)
        self.refresh()

    def cancel(self, wait: bool = True) -> None:
        """End the sweep, as the button does: after the point in flight, or together with it if the cluster is known."""
        if self.run is not None:
            self.run.cancel(wait)
            self.refresh()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds until the sweep has ended; returns whether it has."""
        return self.run is None or self.run.wait(timeout)

    @property
    def outcome(self) -> str:
        """``"not started"``, ``"running"``, ``"done"``, ``"cancelled"`` or ``"failed"``."""
        return "done" if self.run is None else self.run.outcome

    def refresh(self) -> None:
        """Update what is shown. The sweep's thread calls this too."""
        if self._showing:
            return
        with self._lock:
            self._shown_by = threading.get_ident()
            try:
                self._show()
            finally:
                self._shown_by = 0

    @property
    def _showing(self) -> bool:
        """Whether the last change was made by this thread while updating the view."""
        return self._shown_by == threading.get_ident()

    def _show(self) -> None:
        found = self.table
        read = readable(found, list(self.selection.picks))
        if read is not None:
            self._brush_what_varies(read)
        kept, target = self.selection.kept(found), self._target(read)
        self._chosen = self._chosen and self._point in found.index[kept]
        if not self._chosen:
            self._point = best(found[kept], target, read=read)
        names = list(self.selection.picks)
        self.panel.points.show(found, kept, chosen=self._point, parameters=names, target=target)
        if read is None or target is None:
            error = "" if self.run is None else self.run.error
            self.panel.draw(nothing(found, read, error=error, objective=self._objective))
        else:
            place = None if self._point is None else list(found.index).index(self._point)
            self.panel.draw(drawing(read, target, kept=kept, chosen=place))
        if self.run is None:
            self.panel.hide_buttons()
        else:
            picked = int(self.selection.picked(found).sum())
            self.panel.settle(self.run.outcome, self.run.error, picked=picked, points=self.selection.points)

    def _target(self, read: SweepTable | None) -> str | None:
        """The measure that colours the lines; None if there is none."""
        target = None if read is None else self._objective or first_objective(read)
        return target if read is not None and target in read.measures else None

    def _brush_what_varies(self, read: SweepTable) -> None:
        self.selection.brush_what_varies(read)
        self.panel.show_brushes(brush.control for brush in self.selection.brushes.values())

    def _listed(self, label: Any) -> None:
        if not self._showing:
            self._point, self._chosen = label, True
            self.refresh()

    def _clicked(self, click: Click) -> None:
        """Choose the row whose line was clicked."""
        found = self.table
        read = readable(found, list(self.selection.picks))
        target = self._target(read)
        if read is not None and target is not None:
            place = row_at(read, target, kept=self.selection.kept(found), x=click.x, y=click.y)
            if place is not None:
                self.point = found.index[place]

    def _pressed(self) -> None:
        self.start()
        self.panel.cancel.focus()

    def __repr__(self) -> str:
        return (
            f"SweepExplorer({self.outcome}, {len(self.table)} rows, {len(self.selected)} selected, point {self._point})"
        )


def sweep(
    function: Callable[..., Any] | pd.DataFrame,
    space: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
    *,
    cluster: Cluster | None = None,
    objective: str | None = None,
    parameters: Sequence[str] | None = None,
    measures: Sequence[str] | None = None,
) -> SweepExplorer:
    """Pick values of parameters, run their combinations, brush the measures, and look at single points.

    Each row is a line across its parameters and measures. Rows that are not picked, or are outside a measure's range,
    fade. A list holds the other rows; the row chosen in it, or by a click on its line, is shown with its configuration
    and the code that runs it again. Rows appear as they finish. A running cell blocks all widgets of a notebook, so the
    points run on a thread.

    Args:
        function: A function as for :func:`toolkit.sweep`, or the table of a finished sweep.
        space: Values by parameter, for a function.
        store: File that keeps the points, see :func:`toolkit.sweep`; its rows are shown from the start. None: each
            press of Run runs all picked points.
        cluster: The cluster that the function uses. With it, Cancel ends the run in flight; without it, Cancel waits
            until the point in flight has ended.
        objective: The measure that colours the lines and decides which point is shown first; see
            :func:`toolkit.plot.sweep`.
        parameters: Columns that were chosen, if the table does not say.
        measures: Columns that were measured, if the table does not say.

    Raises:
        PlanError: If the space is invalid.
        ToolkitError: If the table is invalid, or the store belongs to another sweep or is in use.

    Example:
        >>> table = pd.DataFrame({"tile": [8, 16, 32], "psnr": [28.0, 34.0, 41.0]})
        >>> explorer = sweep(table, parameters=["tile"], measures=["psnr"])
        >>> explorer.brush(psnr=(20, 40))
        >>> explorer
        SweepExplorer(done, 3 rows, 2 selected, point 1)
    """
    if isinstance(function, pd.DataFrame):
        read = SweepTable.read(function, parameters, measures=measures)
        if not function.index.is_unique:
            raise ToolkitError("two rows of the table have the same label: pass table.reset_index(drop=True).")
        numbers(function, objective or first_objective(read))  # raises if the objective cannot colour a line
        found = function.copy()
        about = {"parameters": list(read.parameters), "measures": list(read.measures)}
        found.attrs["sweep"] = found.attrs.get("sweep", {}) | about
        explorer = SweepExplorer(found, {name: values_in(found[name]) for name in read.parameters}, objective=objective)
    else:
        if not isinstance(space, Mapping):
            raise PlanError("space must map parameters to values: for a list of points or a search, use tk.sweep.")
        points_of(space)
        explorer = SweepExplorer(None, dict(space), objective=objective)
        explorer.run = SweepRun(function, space, store=store, cluster=cluster, changed=explorer.refresh)
    explorer.refresh()
    return explorer
