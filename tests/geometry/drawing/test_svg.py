"""The pieces of pictures: markup that parses, text that cannot break it, ids that do not clash."""

import re
from xml.etree import ElementTree

from toolkit.geometry.drawing.svg import HATCH, group, path, rect, svg, text


def hatched(width: int) -> str:
    return str(svg(9, 9, summary="hatched", parts=[path(rect(0, 0, width, 9), fill=HATCH)]))


def ids(markup: str) -> list[str]:
    return re.findall(r'id="([^"]+)"', markup)


def test_words_cannot_break_out():
    evil = '"><b>&</svg>'
    root = ElementTree.fromstring(
        str(svg(9, 9, summary=evil, parts=[group([text(1, 2, evil), path("M0 0", evil)], class_=evil)]))
    )
    assert root.get("aria-label") == root[0].get("class") == root[0][0].text == root[0][1][0].text == evil


def test_a_picture_is_an_image_with_words():
    root = ElementTree.fromstring(str(svg(30, 20, summary="two tiles", parts=[])))
    assert (root.get("role"), root.get("aria-label")) == ("img", "two tiles")
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("30", "20", "0 0 30 20")


def test_the_same_picture_is_the_same_bytes():
    assert hatched(5) == hatched(5)


def test_each_picture_has_its_own_pattern():
    (one,), (other,) = ids(hatched(5)), ids(hatched(6))
    assert one != other
    assert f"url(#{one})" in hatched(5)
    assert HATCH not in hatched(5)
    summaries = [str(svg(5, 9, summary=words, parts=[path("M0 0", fill=HATCH)])) for words in ("a", "b")]
    assert ids(summaries[0]) != ids(summaries[1])


def test_without_a_hatch_there_is_no_id():
    assert "id=" not in str(svg(5, 5, summary="plain", parts=[path(rect(0, 0, 5, 5))]))
