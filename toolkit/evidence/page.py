"""A report as one HTML file: no scripts, nothing fetched, readable on light and dark pages and on paper."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape

import pandas as pd

from toolkit.evidence.contents import Contents
from toolkit.evidence.pictures import ReportPicture
from toolkit.evidence.tables import WORDS
from toolkit.geometry.drawing.style import DARK, LIGHT

MOST_FILM = 1_000_000
"""Largest video in bytes that is embedded in the page."""

_RULES = """
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1080px;margin:0 auto;
padding:24px 20px 60px}
h1{font-size:1.6em;margin:0 0 .2em}h2{font-size:1.15em;margin:1.8em 0 .5em}
p{margin:.4em 0;max-width:70em}.soft,figcaption{color:var(--soft)}ul{padding-left:1.2em;margin:.4em 0}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:4px 9px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:500}.word{text-align:left;white-space:normal}
.caution{border-left:4px solid #D55E00;padding:.2em .9em;margin:1em 0}
figure{margin:0 0 1.4em}figcaption{font-weight:600;margin-bottom:.3em}img,video{max-width:100%;height:auto}
details{margin:.7em 0}summary{cursor:pointer;font-weight:600}pre{font-size:12px;overflow-x:auto;white-space:pre-wrap}
@media print{body{max-width:none;padding:0}figure{break-inside:avoid}.wide{overflow:visible}video{display:none}}
"""


def page(contents: Contents, film: str | None = None) -> str:
    """The whole page.

    Args:
        contents: The report's contents.
        film: Path of the video, if it is a separate file; None embeds the video in the page.
    """
    title = escape(contents.title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:,"><style>{_style()}</style></head>\n<body><main>{body(contents)}\n'
        f"{_looks(contents, film)}\n{_details(contents)}\n</main></body></html>\n"
    )


def body(contents: Contents, heading: str = "h1") -> str:
    """Title, cautions, the main table and the sentences; this part also represents the report in a notebook."""
    cautions = ""
    if contents.cautions:
        cautions = f'<div class="caution"><strong>Cautions</strong>{_list(contents.cautions)}</div>'
    return (
        f'<{heading}>{escape(contents.title)}</{heading}>\n<p class="soft">{escape(contents.setting)}</p>\n{cautions}'
        f"{table(contents.headline)}\n{_list(contents.closeness)}\n"
        f'<p class="soft">{escape(" ".join(contents.remarks))}</p>'
    )


def table(cells: pd.DataFrame) -> str:
    """A table of text, with columns of words aligned left."""
    if cells.empty:
        return ""
    kinds = [' class="word"' if column in WORDS else "" for column in cells]
    head = "".join(f"<th{kind}>{escape(str(column))}</th>" for kind, column in zip(kinds, cells, strict=True))
    rows = "".join(
        f"<tr>{''.join(f'<td{kind}>{escape(str(text))}</td>' for kind, text in zip(kinds, row, strict=True))}</tr>"
        for row in cells.itertuples(index=False)
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def image(picture: ReportPicture) -> str:
    """The picture, with a dark version for dark pages."""
    source = f"data:image/{picture.kind};base64,"
    shown = f'<img src="{source}{_coded(picture.light)}" alt="{escape(picture.alt)}">'
    if picture.dark is None:
        return shown
    dark = f'<source media="(prefers-color-scheme: dark)" srcset="{source}{_coded(picture.dark)}">'
    return f"<picture>{dark}{shown}</picture>"


def _looks(contents: Contents, film: str | None) -> str:
    """The contact sheet and the video, then the figures."""
    first, *others = [_figure(picture.heading, image(picture)) for picture in contents.pictures] or [""]
    video = ""
    if contents.film is not None:
        source = film or f"data:video/mp4;base64,{_coded(contents.film)}"
        said = "The reference on the left, the outputs to its right. Compressed, so for viewing only."
        video = _figure(f"Side by side. {said}", f'<video controls loop muted src="{escape(source)}"></video>')
    return f"<h2>Pictures</h2>{first}{video}{''.join(others)}" if first or video else ""


def _details(contents: Contents) -> str:
    parts = [f"<h2>Each rank</h2>{table(contents.ranks)}"]
    if not contents.frames.empty:
        parts.append(f"<details><summary>Each frame</summary>{table(contents.frames)}</details>")
    for name, record in contents.records.items():
        parts.append(f"<details><summary>Record of {escape(name)}</summary><pre>{escape(record)}</pre></details>")
    return "\n".join(parts)


def _figure(caption: str, content: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{content}</figure>\n"


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _coded(data: bytes) -> str:
    return b64encode(data).decode()


def _style() -> str:
    light, dark = (";".join(f"--{role}:{colour}" for role, colour in mode.items()) for mode in (LIGHT, DARK))
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{_RULES}"
