"""Boards: controls above a drawing that follows them. Most explorers are made of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from ipywidgets import HTML, HBox, Layout, VBox, Widget

from toolkit.errors import PlanError
from toolkit.widgets.clickable import Click, Clickable
from toolkit.widgets.ipywidgets_compat import WIDGET_MIME, widget_view
from toolkit.widgets.markup import refusal

STILL = "<p><small>A still: its controls show while the kernel runs, in a front end with Jupyter widgets.</small></p>"
"""What is said under a widget's HTML. A front end with widgets shows those instead."""


class Board:
    """Controls above a drawing that is remade whenever a control changes.

    The drawing is HTML in a single widget, so it changes in place, is readable in a saved notebook without a kernel,
    and stays small. If a drawing cannot be made, its place shows the reason until it can. The first drawing must be
    possible.

    Args:
        title: Heading of the drawing.
        controls: Controls by name, in Tab order.
        draw: Function that makes the drawing from the controls' values.
        below: Widgets under the drawing.
        clicked: Function that is called with each click on a drawing, if clicks mean something.

    Attributes:
        widget: The widget that a notebook shows.
        error: Why there is no drawing now; empty if there is one.
    """

    def __init__(
        self,
        title: str,
        controls: Mapping[str, Any],
        *,
        draw: Callable[[], str],
        below: Sequence[Widget] = (),
        clicked: Callable[[Click], None] | None = None,
    ) -> None:
        self._title = title
        self._draw = draw
        self._drawing = HTML(draw()) if clicked is None else Clickable(draw(), clicked)
        self.error = ""
        shelf = HBox(list(controls.values()), layout=Layout(flex_flow="row wrap"))
        self.widget = VBox([shelf, self._drawing, *below])
        for control in controls.values():
            control.observe(lambda change: self.redraw(), names="value")

    @property
    def html(self) -> str:
        """The current drawing."""
        value: str = self._drawing.value
        return value

    def redraw(self) -> None:
        """Remake the drawing."""
        try:
            drawing, error = self._draw(), ""
        except PlanError as refused:
            drawing, error = refusal(self._title, str(refused)), str(refused)
        self.error = error
        self._drawing.value = drawing


class Shown(ABC):
    """An object that a notebook shows as a widget, and a page without a kernel as static HTML.

    Attributes:
        widget: The widget that a notebook shows.
    """

    widget: Widget

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse what is no attribute: a misspelt setting would be kept, and move nothing."""
        declared = {
            known for cls in type(self).__mro__ for known in (*vars(cls), *vars(cls).get("__annotations__", ()))
        }
        if not name.startswith("_") and name not in declared:
            close = get_close_matches(name, [known for known in declared if not known.startswith("_")], n=1)
            hint = f"did you mean {close[0]}?" if close else "its docstring lists its attributes."
            raise AttributeError(f"a {type(self).__name__} has no attribute {name!r}: {hint}")
        super().__setattr__(name, value)

    @property
    @abstractmethod
    def html(self) -> str:
        """What is shown now, as HTML without scripts, for pages without a kernel."""

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, Any]:
        still = f"<div>{self.html}{STILL}</div>"
        everything = {"text/plain": repr(self), "text/html": still, WIDGET_MIME: widget_view(self.widget)}
        kept = set(everything if include is None else include) - set(exclude or ())
        return {mime: data for mime, data in everything.items() if mime in kept}


class Explorer(Shown):
    """An object whose widget is a board.

    Args:
        board: The board.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self.widget = board.widget

    @property
    def html(self) -> str:
        """What is shown now, for pages without a kernel."""
        return self._board.html

    @property
    def error(self) -> str:
        """Why the settings are not possible; empty if they are."""
        return self._board.error

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Move several controls, then draw once."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._board.redraw()
