"""The names of ipywidgets that are not public but that this package needs, each with the reason."""

from __future__ import annotations

from typing import Any

from ipywidgets import Widget

from toolkit.errors import ToolkitError

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
"""The MIME type under which front ends find a widget's view."""


def widget_view(widget: Widget) -> Any:
    """The data that a front end needs to show a widget, for the MIME type ``WIDGET_MIME``.

    ipywidgets gives these data to IPython only, in ``_repr_mimebundle_``. ``display(widget)`` cannot be used instead,
    because it would send ipywidgets' own text in place of an explorer's static HTML. If the method or its MIME type
    changes, no explorer can be shown.

    Raises:
        ToolkitError: If this version of ipywidgets does not provide the data.
    """
    bundle: dict[str, Any] = getattr(widget, "_repr_mimebundle_", dict)()
    if WIDGET_MIME not in bundle:
        raise ToolkitError(
            f"this version of ipywidgets shows a {type(widget).__name__} without {WIDGET_MIME}: install the version in "
            "constraints.txt."
        )
    return bundle[WIDGET_MIME]
