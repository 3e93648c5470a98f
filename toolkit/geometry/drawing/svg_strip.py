"""The picture of an assignment: the tiles in order, coloured and numbered by rank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from toolkit.geometry.drawing.palette import rank_colour, text_on
from toolkit.geometry.drawing.svg import Picture, group, path, rect, svg, text

PER_LINE, MOST_LINES = 16, 10
"""Tiles per line, and most lines that are drawn."""

_SIDE, _LEFT = 24, 40


def draw_strip(owners: Sequence[int], summary: str) -> Picture:
    """Draw the rank of each tile in lines of 16 tiles, with the index of the first tile beside each line.

    Example:
        >>> draw_strip([0, 1] * 500, "many tiles").notes
        ('drawn: the first 160 of 1000 tiles',)
    """
    shown = min(len(owners), PER_LINE * MOST_LINES)
    tiles, numbers = defaultdict(list), defaultdict(list)
    for index, rank in enumerate(owners[:shown]):
        line, place = divmod(index, PER_LINE)
        x, y, colour = _LEFT + place * _SIDE, line * (_SIDE + 4), rank_colour(rank)
        size = min(13, int(_SIDE / (0.68 * len(str(rank)) + 0.4)))
        tiles[colour].append(path(rect(x, y, _SIDE - 1, _SIDE)))
        numbers[colour, size].append(text(x + (_SIDE - 1) / 2, round(y + _SIDE / 2 + size * 0.35, 1), rank))
    lines = -(-shown // PER_LINE)
    starts = [text(_LEFT - 6, line * (_SIDE + 4) + 16, line * PER_LINE, text_anchor="end") for line in range(lines)]
    parts = [group(paths, fill=colour) for colour, paths in tiles.items()]
    parts += [
        group(texts, class_="tk-number", font_size=size, fill=text_on(colour), stroke=colour)
        for (colour, size), texts in numbers.items()
    ]
    parts.append(group(starts, class_="tk-label"))
    notes = (f"drawn: the first {shown} of {len(owners)} tiles",) if shown < len(owners) else ()
    width = _LEFT + min(shown, PER_LINE) * _SIDE
    return Picture(svg(width, lines * (_SIDE + 4), summary=summary, parts=parts), notes)
