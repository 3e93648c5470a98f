"""Themes: text that is readable on its page, and a template that is small."""

from __future__ import annotations

import json

import pytest

from toolkit.errors import PlanError
from toolkit.geometry.drawing.palette import contrast
from toolkit.plot.theme import THEMES, Unit, template


class TestTheme:
    def test_neutral_text_reads_on_light_and_dark_pages(self):
        for page in ("#FFFFFF", "#111111", "#1E1E1E"):
            assert contrast(THEMES["neutral"].text, page) >= 3.8

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_text_reads_on_its_own_paper(self, theme):
        assert contrast(THEMES[theme].text, THEMES[theme].paper) >= 7

    def test_lean(self):
        assert len(json.dumps(template("neutral"))) < 700


@pytest.mark.parametrize("unit", [(0.0, "s"), (float("nan"), "s"), (1.0, "")])
def test_a_unit_has_a_positive_scale_and_a_name(unit):
    with pytest.raises(PlanError, match="a unit needs a positive scale and a name"):
        Unit(*unit)


def test_an_unknown_theme_is_refused():
    with pytest.raises(PlanError, match="theme='pink': must be one of neutral, light, dark"):
        template("pink")
