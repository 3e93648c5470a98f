"""What tests of reports share: a parser that checks pages."""

from __future__ import annotations

from html.parser import HTMLParser

NASTY = 'a|b <script>alert("x")</script> & `c` *d*'

VOID = {"meta", "link", "img", "source", "br"}


class Page(HTMLParser):
    """The elements of a page; refuses tags that are not balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == tag]
