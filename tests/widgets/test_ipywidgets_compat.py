"""ipywidgets still gives the data that front ends need to show a widget."""

from __future__ import annotations

import pytest
from ipywidgets import HTML

from toolkit.errors import ToolkitError
from toolkit.widgets.ipywidgets_compat import widget_view


def test_the_view_names_the_widget_s_model():
    widget = HTML("x")
    view = widget_view(widget)
    assert view["model_id"] == widget.model_id, "ipywidgets describes its views differently: adapt widget_view"
    assert view["version_major"] == 2, "front ends expect another version of the widget protocol: adapt widget_view"


def test_a_version_without_the_view_is_named_as_the_cause():
    class Other:
        def _repr_mimebundle_(self):
            return {"text/plain": "Other()"}

    for widget in (Other(), object()):
        with pytest.raises(ToolkitError, match="this version of ipywidgets shows"):
            widget_view(widget)
