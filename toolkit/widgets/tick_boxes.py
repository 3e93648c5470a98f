"""A row of boxes to tick: several of a few values, by keyboard too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ipywidgets import Checkbox, HBox, Label, Layout
from traitlets import Tuple


class Checks(HBox):  # type: ignore[misc]
    """Boxes to tick: in a list for several, JupyterLab takes the arrow keys for its cells.

    Args:
        options: the values, as they are shown.
        description: what they are values of.
        tooltip: what ticking does.

    Attributes:
        index: the places of those that are ticked, in their order; all to begin with.
    """

    index = Tuple()

    def __init__(self, options: Sequence[str], description: str, tooltip: str) -> None:
        self.options, self.description = tuple(options), description
        self.boxes = [
            Checkbox(True, description=text, indent=False, tooltip=tooltip, tabbable=True, layout=Layout(width="auto"))
            for text in self.options
        ]
        name = Label(description, layout=Layout(width="6.5em"))
        across = Layout(flex_flow="row wrap", align_items="center", grid_gap="0 0.8em", margin="0 1em 0 0")
        super().__init__([name, *self.boxes], layout=across)  # no tooltip: with one, the front end cannot show a box
        self._ticking = False
        self._read()
        for box in self.boxes:
            box.observe(lambda change: self._read(), names="value")
        self.observe(lambda change: self._tick(change["new"]), names="index")

    def _read(self) -> None:
        if not self._ticking:
            self.index = tuple(place for place, box in enumerate(self.boxes) if box.value)

    def _tick(self, places: Iterable[int]) -> None:
        self._ticking = True  # one change of the index, not one for each box on the way
        for place, box in enumerate(self.boxes):
            box.value = place in places
        self._ticking = False
