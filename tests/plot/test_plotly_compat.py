"""plotly still has the private names that figures switch off or extend."""

from __future__ import annotations

import plotly.graph_objects as go
import plotly.io as pio
import pytest
from IPython.core.formatters import DisplayFormatter

from toolkit.plot.plotly_compat import BundledFigure

METHODS = {
    "_ipython_display_": "notebooks would show plotly's own output only; adapt BundledFigure",
    "_repr_html_": "exported pages would need the network; adapt BundledFigure",
    "_repr_mimebundle_": "renderers that send HTML, such as Colab's, would be ignored; adapt plotly_bundle",
}


@pytest.mark.parametrize("name", METHODS)
def test_plotly_has_the_method_that_is_replaced(name):
    assert callable(getattr(go.Figure, name, None)), f"plotly no longer has Figure.{name}: {METHODS[name]}"


def test_ipython_asks_for_the_bundle_and_for_nothing_else():
    sent, _ = DisplayFormatter().format(BundledFigure())
    assert "text/html" not in sent


def test_the_bundle_is_that_of_the_present_renderer():
    before = pio.renderers.default
    try:
        pio.renderers.default = "colab"
        assert set(BundledFigure().plotly_bundle(None, None)) == {"text/html"}
    finally:
        pio.renderers.default = before
