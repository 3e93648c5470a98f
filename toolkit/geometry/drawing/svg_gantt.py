"""The picture of a schedule: one row per rank, time to the right, and one box per action in its branch's colour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.geometry.drawing.palette import rank_colour, text_on
from toolkit.geometry.drawing.svg import Picture, group, path, rect, svg, text

MOST_BARS, MOST_RANKS = 160, 16
"""Most boxes and most ranks that are drawn."""

_ROOM, _WIDEST, _HIGH, _PITCH, _LEFT = 560, 44, 24, 28, 56


@dataclass(frozen=True, slots=True)
class Bar:
    """One box.

    Attributes:
        rank: The row.
        start: When the box starts, in any unit of time.
        stop: When it ends.
        label: The text in the box, if it fits.
        branch: The branch. It sets the colour, and is the text if only a number fits.
        title: The text that appears when the pointer rests on the box.
        faint: Whether the box is paler, because it is not the subject of the picture.
    """

    rank: int
    start: float
    stop: float
    label: str
    branch: int
    title: str
    faint: bool = False


def draw_gantt(bars: Sequence[Bar], ranks: int, *, summary: str, unit: str = "time") -> Picture:
    """Draw boxes over time, the earliest first.

    Args:
        bars: The boxes. Boxes of one rank do not overlap.
        ranks: Number of rows.
        summary: The picture in one sentence.
        unit: The label of the time axis.

    Example:
        >>> bars = [Bar(0, step, step + 1, "0F0", 0, "rank 0") for step in range(200)]
        >>> draw_gantt(bars, ranks=1, summary="a full rank").notes
        ('drawn: the first 160 of 200 actions',)
    """
    shown = sorted((bar for bar in bars if bar.rank < MOST_RANKS), key=lambda bar: bar.start)[:MOST_BARS]
    end = max((bar.stop for bar in shown), default=0) or 1
    shortest = min((bar.stop - bar.start for bar in shown if bar.stop > bar.start), default=end)
    scale = min(_ROOM / end, _WIDEST / shortest)
    rows, width = min(ranks, MOST_RANKS), round(end * scale)
    bottom = rows * _PITCH
    names = [text(_LEFT - 8, row * _PITCH + 16, f"rank {row}", text_anchor="end") for row in range(rows)]
    ticks = [text(_LEFT, bottom + 13, "0"), text(_LEFT + width, bottom + 13, f"{float(end):.3g}", text_anchor="end")]
    ticks.append(text(_LEFT + width / 2, bottom + 13, unit, text_anchor="middle", class_="tk-name"))
    parts = [path("".join(rect(_LEFT, row * _PITCH, width, _HIGH) for row in range(rows)), class_="tk-tile")]
    parts += [*_boxes(shown, scale), group(names + ticks, class_="tk-label")]
    return Picture(svg(_LEFT + width + 8, bottom + 18, summary=summary, parts=parts), _notes(bars, shown, ranks=ranks))


def _boxes(bars: Sequence[Bar], scale: float) -> list[str]:
    boxes, words = defaultdict(list), defaultdict(list)
    for bar in bars:
        colour, top = rank_colour(bar.branch), bar.rank * _PITCH
        left, right = (_LEFT + round(time * scale) for time in (bar.start, bar.stop))
        boxes[colour, bar.faint].append(path(rect(left, top, max(right - left - 1, 1), _HIGH), bar.title))
        label, size = _fitting(bar, right - left - 1)
        if label:
            place = text((left + right - 1) / 2, round(top + _HIGH / 2 + size * 0.35, 1), label)
            words[colour, bar.faint, size].append(place)
    parts = []
    for (colour, faint), paths in boxes.items():
        parts.append(group(paths, fill=colour, **({"fill_opacity": 0.4} if faint else {})))
    for (colour, faint, size), texts in words.items():
        ink = {"class_": "tk-label", "text_anchor": "middle"}
        dark = {"class_": "tk-number", "fill": text_on(colour), "stroke": colour}
        parts.append(group(texts, font_size=size, **(ink if faint else dark)))
    return parts


def _fitting(bar: Bar, width: int) -> tuple[str, int]:
    """The text that fits (the label, the branch, or nothing) and its font size."""
    for label, least in ((bar.label, 8), (str(bar.branch), 7)):
        size = min(12, int(width / (0.62 * len(label) + 0.3)))
        if size >= least:
            return label, size
    return "", 0


def _notes(bars: Sequence[Bar], shown: Sequence[Bar], *, ranks: int) -> tuple[str, ...]:
    cut = []
    if ranks > MOST_RANKS:
        cut.append(f"the first {MOST_RANKS} of {ranks} ranks")
    if len(shown) < len(bars):
        cut.append(f"the first {len(shown)} of {len(bars)} actions")
    return (f"drawn: {', '.join(cut)}",) if cut else ()
