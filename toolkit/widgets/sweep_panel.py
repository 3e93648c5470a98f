"""The widgets of a sweep explorer: buttons, drawing, brushes, and the list of points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ipywidgets import Button, HBox, Label, Layout, VBox, Widget

from toolkit.widgets.clickable import Click, Clickable
from toolkit.widgets.sweep_points import Points


class SweepPanel:
    """The widgets of a sweep, top to bottom: picks, buttons, drawing, brushes, and the list of points.

    Args:
        picks: Controls of the parameters, by name.
        press_run: Called when Run is pressed.
        press_cancel: Called when Cancel is pressed.
        choose: Called with the label of the row that a user chooses in the list.
        clicked: Called with each click on the drawing.

    Attributes:
        widget: All of them.
        run: The button that runs the picked points.
        cancel: The button that ends the sweep.
        note: The text beside the buttons.
        buttons: The buttons and the note.
        points: The list of points.
    """

    def __init__(
        self,
        picks: Mapping[str, Any],
        *,
        press_run: Callable[[], None],
        press_cancel: Callable[[], None],
        choose: Callable[[Any], None],
        clicked: Callable[[Click], None],
    ) -> None:
        wrap = Layout(flex_flow="row wrap")
        self.run = Button(description="Run", tooltip="Run the picked points.", tabbable=True)
        self.cancel = Button(description="Cancel", tooltip="End the sweep; finished rows stay.", tabbable=True)
        self.note, self.points = Label(), Points()
        self._drawing, self._brushes = Clickable("", clicked), HBox(layout=wrap)
        self.buttons = HBox([self.run, self.cancel, self.note])
        self._choose = choose
        self.run.on_click(lambda button: press_run())
        self.cancel.on_click(lambda button: press_cancel())
        self.points.control.observe(lambda change: self._listed(), names="index")
        chosen = HBox(list(picks.values()), layout=wrap)
        below = VBox([self.points.control, self.points.about])
        self.widget: Widget = VBox([chosen, self.buttons, self._drawing, self._brushes, below])

    @property
    def html(self) -> str:
        """What is shown now, for pages without a kernel."""
        drawing: str = self._drawing.value
        return f"{drawing}{self.points.about.value}"

    def draw(self, html: str) -> None:
        """Show a drawing."""
        self._drawing.value = html

    def show_brushes(self, brushes: Iterable[Widget]) -> None:
        """Show the brushes, if they have changed."""
        if self._brushes.children != (found := tuple(brushes)):
            self._brushes.children = found

    def hide_buttons(self) -> None:
        """Hide the buttons, for a table without a function."""
        self.buttons.layout.display = "none"

    def settle(self, outcome: str, error: str, *, picked: int, points: int) -> None:
        """Update the buttons and the note beside them.

        Args:
            outcome: Outcome of the sweep.
            error: Its error, if it failed as a whole.
            picked: Number of picked points that have a row.
            points: Number of picked points.
        """
        running = outcome == "running"
        self.run.disabled, self.cancel.disabled = running or not points, not running
        self.note.value = f"{outcome}: {picked} of {points} picked points have a row.{error and f' {error}'}"

    def _listed(self) -> None:
        if self.points.control.index is not None:
            self._choose(self.points.control.value)
