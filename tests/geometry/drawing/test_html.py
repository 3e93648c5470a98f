"""Tables and frames: text cannot break out, numbers read well, nothing is lost where styles are."""

import re
from urllib.parse import unquote
from xml.etree import ElementTree

from toolkit.geometry.drawing.html import bar, cell, chip, table, view, word
from toolkit.geometry.drawing.palette import RANK_COLOURS, contrast
from toolkit.geometry.drawing.still import MOST_CHARACTERS
from toolkit.geometry.drawing.svg import HATCH, Picture, path, svg

EVIL = "</td><b>&amp;"


def test_words_cannot_break_out():
    picture = Picture(svg(4, 4, summary="", parts=[]), (EVIL,))
    page = view(EVIL, EVIL, table=table([EVIL], [[cell(EVIL), word(EVIL)]], words=[EVIL]), picture=picture)
    texts = [node.text for node in ElementTree.fromstring(page).iter() if node.text and "b>" in node.text]
    assert texts == [EVIL] * 5 + [EVIL + "."]


def test_where_styles_are_dropped_an_image_takes_the_drawings_place():
    drawn = svg(40, 20, summary='a "dash"', parts=[path("M0 1h8", "a title", class_="tk-tile", fill=HATCH)])
    page = view("title", "facts", table="<table/>", picture=Picture(drawn))
    style, _ = page.split("</style>", 1)
    tree = ElementTree.fromstring(page)
    (figure,) = tree.iterfind(".//div[@class='tk-figure']")
    assert figure.get("style") == "display:none"
    assert figure.find("svg") is not None
    assert ".tk-view .tk-figure{display:block!important}.tk-view .tk-still{display:none!important}" in style
    (image,) = tree.iterfind(".//img")
    assert (image.get("class"), image.get("alt"), image.get("width")) == ("tk-still", 'a "dash"', "40")
    head, data = image.get("src").split(",", 1)
    assert head == "data:image/svg+xml"
    alone = ElementTree.fromstring(unquote(data))
    assert alone.get("viewBox") == "0 0 40 20"
    assert [node.tag.rpartition("}")[2] for node in alone] == ["style", "rect", "defs", "path"]
    rules = alone[0].text
    assert ".tk-view .tk-tile{fill:var(--tk-tile)}" in rules
    assert set(re.findall(r"var\((--tk-\w+)\)", rules)) <= set(re.findall(r"(--tk-\w+):", rules))


def test_a_large_drawing_is_not_stored_twice():
    page = view(
        "title", "facts", table="<table/>", picture=Picture(svg(9, 9, summary="", parts=["<g/>" * MOST_CHARACTERS]))
    )
    assert "data:" not in page
    assert "trusted notebook" in page


def test_bars_are_as_long_as_their_part():
    assert [bar(value, 40).split("--tk-part:")[1].split("%")[0] for value in (0, 10, 40)] == ["0", "25", "100"]
    assert "--tk-part:0%" in bar(0, 0)
    assert ">1,234,567<" in bar(1234567, 1234567)


def test_chips_are_legible():
    for rank, colour in enumerate(RANK_COLOURS):
        style = dict(rule.split(":") for rule in ElementTree.fromstring(chip(rank))[0].get("style").split(";"))
        assert style["background"] == colour
        assert contrast(style["color"], colour) >= 4.5


def test_a_table_without_a_head():
    assert table([], [[cell(1)]]) == "<table><tbody><tr><td>1</td></tr></tbody></table>"
    assert '<th class="tk-word">which</th>' in table(["rank", "which"], [], words=["which"])
