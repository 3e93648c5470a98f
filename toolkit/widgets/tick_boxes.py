"""A row of check boxes that pick several of a few values and can be used with the keyboard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ipywidgets import Checkbox, HBox, Label, Layout
from traitlets import Tuple


class Checks(HBox):  # type: ignore[misc]
    """Check boxes in a row.

    This replaces a list that selects several values, in which JupyterLab would take the arrow keys for its cells.

    Args:
        options: Labels of the values.
        description: Name of what the values belong to.
        tooltip: What ticking a box does.

    Attributes:
        index: Positions of the ticked boxes, in order; initially all.
    """

    index = Tuple()

    def __init__(self, options: Sequence[str], description: str, *, tooltip: str) -> None:
        self.options, self.description = tuple(options), description
        self.boxes = [
            Checkbox(True, description=text, indent=False, tooltip=tooltip, tabbable=True, layout=Layout(width="auto"))
            for text in self.options
        ]
        name = Label(description, layout=Layout(width="6.5em"))
        across = Layout(flex_flow="row wrap", align_items="center", grid_gap="0 0.8em", margin="0 1em 0 0")
        # The row itself has no tooltip, because the front end fails to show a box that has one.
        super().__init__([name, *self.boxes], layout=across)
        self._ticking = False
        self._read()
        for box in self.boxes:
            box.observe(lambda change: self._read(), names="value")
        self.observe(lambda change: self._tick(change["new"]), names="index")

    def _read(self) -> None:
        if not self._ticking:
            self.index = tuple(place for place, box in enumerate(self.boxes) if box.value)

    def _tick(self, places: Iterable[int]) -> None:
        self._ticking = True  # change the index once, not once for each box on the way
        for place, box in enumerate(self.boxes):
            box.value = place in places
        self._ticking = False
