"""Boards: controls above a drawing that follows them. What every explorer is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ipywidgets import HTML, HBox, Layout, VBox, Widget

from toolkit.errors import PlanError
from toolkit.widgets.markup import refusal

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"


class Board:
    """Controls above a drawing that is made anew whenever one of them changes.

    The drawing is HTML in one widget, and nothing else: it changes in place, reads without a kernel once it is saved,
    and weighs what it says. Where it cannot be made, the reason takes its place until it can; the first must be.

    Args:
        title: the heading of the drawing.
        controls: by name, in the order of Tab.
        draw: makes the drawing from what the controls say.
        below: widgets under the drawing.

    Attributes:
        widget: what a notebook shows.
        error: why there is no drawing at present; empty where there is one.
    """

    def __init__(
        self, title: str, controls: Mapping[str, Any], draw: Callable[[], str], below: Sequence[Widget] = ()
    ) -> None:
        self._title = title
        self._draw = draw
        self._drawing = HTML(draw())
        self.error = ""
        shelf = HBox(list(controls.values()), layout=Layout(flex_flow="row wrap"))
        self.widget = VBox([shelf, self._drawing, *below])
        for control in controls.values():
            control.observe(lambda change: self.redraw(), names="value")

    @property
    def html(self) -> str:
        """The present drawing."""
        value: str = self._drawing.value
        return value

    def redraw(self) -> None:
        """Make the drawing anew."""
        try:
            drawing, error = self._draw(), ""
        except PlanError as refused:
            drawing, error = refusal(self._title, str(refused)), str(refused)
        self.error = error
        self._drawing.value = drawing


def bundle(
    widget: Widget, sentence: str, html: str, include: Iterable[str] | None, exclude: Iterable[str] | None
) -> dict[str, Any]:
    """What a notebook is given to show: the widget, and for pages without a kernel what it shows now.

    Args:
        widget: the widget.
        sentence: what it shows, in words.
        html: what it shows, without scripts.
        include: the kinds that are wanted; None: all.
        exclude: the kinds that are not.
    """
    live = widget._repr_mimebundle_()[WIDGET_MIME]
    everything = {"text/plain": sentence, "text/html": html, WIDGET_MIME: live}
    kept = set(everything if include is None else include) - set(exclude or ())
    return {mime: data for mime, data in everything.items() if mime in kept}
