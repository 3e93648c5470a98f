"""Colours: apart to every eye, and text on them legible."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from plotly.colors import sample_colorscale
from skimage.color import deltaE_ciede2000, rgb2lab

from toolkit.geometry.drawing.palette import DIVERGING, RANK_COLOURS, THIN_MARKS, contrast, rank_colour, text_on
from toolkit.geometry.drawing.style import DARK, LIGHT

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
SIMULATED = {
    "as it is": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def seen(colour: str, sight: str) -> np.ndarray:
    """The colour in CIELAB, as seen."""
    encoded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(SIMULATED[sight]) @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("sight", SIMULATED)
def test_rank_colours_are_apart_to_every_eye(sight):
    lab = {colour: seen(colour, sight) for colour in RANK_COLOURS}
    apart = {pair: deltaE_ciede2000(lab[pair[0]], lab[pair[1]]) for pair in combinations(RANK_COLOURS, 2)}
    assert len(apart) == 28
    assert min(apart.values()) >= 10, min(apart, key=apart.get)


def test_the_simulation_finds_what_plotly_s_colours_lack():
    lab = [seen(colour, "protanopia") for colour in ("#636EFA", "#AB63FA")]
    assert deltaE_ciede2000(*lab) < 1


def test_colours_repeat_after_eight_ranks():
    assert [rank_colour(rank) for rank in range(8)] == list(RANK_COLOURS)
    assert [rank_colour(rank) for rank in range(800, 808)] == list(RANK_COLOURS)


@pytest.mark.parametrize("colour", [*RANK_COLOURS, "#000000", "#FFFFFF", "#757575", "#777777", "#FF0000", "#0000FF"])
def test_numbers_on_colours_are_legible(colour):
    assert contrast(text_on(colour), colour) >= 4.5


def test_contrast_is_that_of_wcag():
    assert contrast("#FFFFFF", "#000000") == contrast("#000000", "#FFFFFF") == 21.0
    assert contrast("#777777", "#777777") == 1.0
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)  # the lightest grey that passes
    assert contrast("#777777", "#FFFFFF") < 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize(("ink", "ground"), [("ink", "paper"), ("soft", "paper"), ("ink", "tile")])
def test_words_are_legible_in_both_themes(theme, ink, ground):
    assert contrast(theme[ink], theme[ground]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_themes_name_the_same_roles(theme):
    assert set(theme) == set(LIGHT)


@pytest.mark.parametrize("sight", SIMULATED)
def test_signs_are_apart_to_every_eye(sight):
    """Of the diverging colours, the ends and two steps towards the middle: below 0, and above it."""
    for share in (0.0, 0.25, 0.375):
        below, above = (
            "#{:02X}{:02X}{:02X}".format(*(round(255 * part) for part in colour))
            for colour in sample_colorscale(DIVERGING, [share, 1 - share], colortype="tuple")
        )
        assert deltaE_ciede2000(seen(below, sight), seen(above, sight)) >= 10


def test_thin_marks_show_on_any_page_and_get_lighter():
    colours = [colour for _, colour in THIN_MARKS]
    assert min(contrast(colour, page) for colour in colours for page in ("#FFFFFF", "#111111")) > 2.5
    lightness = [seen(colour, "as it is")[0] for colour in colours]
    assert lightness == sorted(lightness)
    for sight in SIMULATED:
        lab = [seen(colour, sight) for colour in colours]
        assert min(deltaE_ciede2000(*pair) for pair in pairwise(lab)) > 6, sight
