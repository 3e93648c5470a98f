"""HTML whose drawings can be clicked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import traitlets
from anywidget import AnyWidget

from toolkit.geometry.checks import is_int, is_number


@dataclass(frozen=True, slots=True)
class Click:
    """Where a drawing was clicked.

    Attributes:
        drawing: The drawing, counted from 0 in the order of the page: an SVG, or an image.
        x: Across, in the units of the SVG's view box or in pixels of the image.
        y: Down, in the same units.
    """

    drawing: int
    x: float
    y: float


class Clickable(AnyWidget):  # type: ignore[misc]  # anywidget's base class is not typed
    """HTML in a page, like :class:`ipywidgets.HTML`, that says where its drawings are clicked.

    Standard ipywidgets hear no clicks on a drawing. This one has a script of some twenty lines beside it.

    Args:
        value: The HTML.
        clicked: Called with each click on a drawing.
    """

    _esm = Path(__file__).with_name("clickable.js")
    _css = ".tk-clickable svg, .tk-clickable img { cursor: pointer }"
    value = traitlets.Unicode().tag(sync=True)

    def __init__(self, value: str, clicked: Callable[[Click], None]) -> None:
        super().__init__(value=value)
        self._clicked = clicked
        self.on_msg(lambda widget, content, buffers: self._heard(content))

    def _heard(self, content: Any) -> None:
        """Take a message of the page, which may be anybody's: one that is not a click is dropped."""
        said: Any = content if isinstance(content, dict) else {}
        drawing, x, y = said.get("drawing"), said.get("x"), said.get("y")
        if is_int(drawing) and is_number(x) and is_number(y):
            self._clicked(Click(drawing, float(x), float(y)))
