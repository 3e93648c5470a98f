"""Tables and frames: text cannot break out, numbers read well, nothing is lost where styles are."""

from xml.etree import ElementTree

from toolkit.geometry.drawing.html import bar, cell, chip, table, view, word
from toolkit.geometry.drawing.palette import RANK_COLOURS, contrast
from toolkit.geometry.drawing.svg import Picture

EVIL = "</td><b>&amp;"


def test_words_cannot_break_out():
    page = view(
        EVIL, EVIL, table=table([EVIL], [[cell(EVIL), word(EVIL)]], words=[EVIL]), picture=Picture("<svg/>", (EVIL,))
    )
    texts = [node.text for node in ElementTree.fromstring(page).iter() if node.text and "b>" in node.text]
    assert texts == [EVIL] * 5 + [EVIL + "."]


def test_the_picture_hides_where_styles_are_dropped():
    page = view("title", "facts", table="<table/>", picture=Picture("<svg/>"))
    style, rest = page.split("</style>")
    (figure,) = ElementTree.fromstring(page).iterfind(".//div[@class='tk-figure']")
    assert figure.get("style") == "display:none"
    assert figure.find("svg") is not None
    assert ".tk-view .tk-figure{display:block!important}" in style
    assert rest.index("<table/>") < rest.index("display:none")


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
