"""What a widget sends to a notebook: a view if there is a kernel, a drawing and a sentence if there is none."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from ipywidgets import DOMWidget

import toolkit as tk
from toolkit.widgets.board import STILL
from toolkit.widgets.ipywidgets_compat import WIDGET_MIME


@pytest.fixture
def explorer():
    return tk.widgets.schedule(stages=3)


def test_the_bundle_has_a_view_a_picture_and_a_sentence(explorer):
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {WIDGET_MIME, "text/html", "text/plain"}
    assert bundle[WIDGET_MIME]["model_id"] == explorer.widget.model_id
    assert bundle["text/plain"] == repr(explorer)
    assert bundle["text/html"] == f"<div>{explorer.html}{STILL}</div>"
    assert len(bundle["text/html"]) < 50_000


def test_the_bundle_follows_what_is_asked_for(explorer):
    assert set(explorer._repr_mimebundle_(include=["text/html"])) == {"text/html"}
    assert set(explorer._repr_mimebundle_(exclude=[WIDGET_MIME])) == {"text/html", "text/plain"}


def test_the_picture_is_the_same_twice_and_needs_nothing(explorer):
    assert explorer.html == tk.widgets.schedule(stages=3).html
    ElementTree.fromstring(f"<p>{explorer.html}</p>")
    assert not any(word in explorer.html for word in ("<script", "http:", "https:", "javascript:"))


def test_every_control_has_a_name_a_hint_and_a_place_in_the_order_of_tab(explorer):
    for control in explorer.controls.values():
        assert isinstance(control, DOMWidget)
        assert control.description
        assert len(control.tooltip) > 10
        assert control.tabbable


def test_a_misspelt_setting_is_refused():
    explorer = tk.widgets.schedule(layers=8)
    with pytest.raises(AttributeError, match="no attribute 'stagse': did you mean stages"):
        explorer.stagse = 3
    with pytest.raises(AttributeError, match="its docstring lists"):
        explorer.zzz = 3
    explorer.stages = 4
    assert explorer.stages == 4
