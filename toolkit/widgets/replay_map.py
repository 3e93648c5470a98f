"""The map of a replay as SVG: each part in the colour and with the sign of its state."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from toolkit.analysis.part_sheet import small
from toolkit.analysis.part_states import SHOWN, State
from toolkit.analysis.replaying import Replaying
from toolkit.geometry.drawing.palette import text_on
from toolkit.geometry.drawing.svg import HATCH, Drawing, group, path, rect, svg, text
from toolkit.plot.state_looks import COLOURS, SIGNS, in_words
from toolkit.plot.theme import PINK
from toolkit.runs.trace import NONE
from toolkit.widgets.replay_selection import Selection

WIDE, HIGH, LEFT, TOP = 236, 220, 48, 16
ROW = 26
"""Height of a row of layers, in pixels."""

ROOMY = 20
"""Pixels from which on a cell shows its rank and its sign."""


class ReplayMap:
    """The map of one subject. What stays the same is drawn once.

    Args:
        replay: The subject.
    """

    def __init__(self, replay: Replaying) -> None:
        self._of = replay
        sheet = small(replay.parts.sheet)
        scale = WIDE / sheet.x[-1]
        down = ROW if sheet.rows else min(scale, HIGH / sheet.y[-1])
        scale = scale if sheet.rows else down
        x, y = [LEFT + round(at * scale) for at in sheet.x], [TOP + round(at * down) for at in sheet.y]
        boxes, parts = [], []
        for (row, column), part in np.ndenumerate(sheet.cells):
            if part >= 0:
                boxes.append((x[column], y[row], x[column + 1] - x[column], y[row + 1] - y[row]))
                parts.append(int(part))
        self._inside = sheet.cells >= 0
        gap = int(min(min(box[2:]) for box in boxes) >= 4)
        self._boxes, self._parts = boxes, parts
        self._rects = np.array([rect(*box[:2], box[2] - gap, box[3] - gap) for box in boxes], object)
        self._signed = min(box[3] for box in boxes) >= 14 and min(box[2] for box in boxes) >= ROOMY + 6
        self._right, self._bottom = x[-1], y[-1]
        names = [
            text(LEFT - 6, y[place] + ROW * 0.65, name[-9:], text_anchor="end") for place, name in enumerate(sheet.rows)
        ]
        names += [text(LEFT + at * scale, TOP + up * down - 3, note) for at, up, note in sheet.notes]
        across = f"{sheet.names[0]}: {sheet.x[0]:g} to {sheet.x[-1]:g}"
        names.append(text((LEFT + x[-1]) / 2, y[-1] + 13, across, text_anchor="middle"))
        if sheet.names[1]:
            names.append(text(LEFT - 6, y[0] + 10, f"{sheet.names[1][0]} 0", text_anchor="end"))
            names.append(text(LEFT - 6, y[-1], f"{sheet.y[-1]:g}", text_anchor="end"))
        self._names = group(names, class_="tk-label", font_size=10)

    def svg(self, time: float, chosen: Selection) -> Drawing:
        """The map at a moment, with a legend that counts the parts in each state.

        Args:
            time: Seconds since the run began.
            chosen: What is outlined.
        """
        states = self._of.map(time)[self._inside]
        counts = self._of.counts(time)
        height = self._bottom + 24 + 16 * len(SHOWN)
        said = f"Map of {self._of.subject}: {in_words(counts)}"
        parts = [*self._cells(states), self._names, *self._outlines(chosen), *self._legend(counts)]
        return svg(max(self._right, LEFT + 200) + 4, height, summary=said, parts=parts)

    def part_at(self, x: float, y: float) -> int:
        """The part that is drawn at a place; -1 if there is none."""
        for part, (left, top, wide, high) in zip(self._parts, self._boxes, strict=True):
            if left <= x < left + wide and top <= y < top + high:
                return part
        return NONE

    def _cells(self, states: np.ndarray) -> Iterator[str]:
        for state in SHOWN:
            here = states == state
            if here.any():
                data = "".join(self._rects[here])
                yield path(data, fill=COLOURS[state])
                # A hatch beside the colour, for cells without room for a sign.
                if state is State.TRAVELLING and not self._signed:
                    yield path(data, fill=HATCH)
        if self._signed:
            owners = self._of.parts.owners
            for state in SHOWN:
                places = [place for place, there in enumerate(states == state) if there]
                texts = [
                    text(left + wide / 2, top + high / 2 + 4, f"{owners[self._parts[place]]} {SIGNS[state]}")
                    for place in places
                    for left, top, wide, high in [self._boxes[place]]
                ]
                style: dict[str, str | float] = {
                    "text_anchor": "middle",
                    "font_size": 11,
                    "fill": text_on(COLOURS[state]),
                }
                yield group(texts, **style)

    def _outlines(self, chosen: Selection) -> Iterator[str]:
        """The selected part, and its seams as thick pink lines."""
        boxes = dict(zip(self._parts, self._boxes, strict=True))
        if chosen.part in boxes:
            yield path(rect(*boxes[chosen.part]), class_="tk-box", stroke_width=3)
        lines = []
        for one, other in chosen.seams:
            if one in boxes and other in boxes:
                (left, top, wide, high), (beside, below, _, _) = boxes[one], boxes[other]
                lines.append(f"M{beside} {top}v{high}" if beside > left and below == top else f"M{left} {below}h{wide}")
        if lines:
            yield path("".join(lines), stroke=PINK, stroke_width=5)

    def _legend(self, counts: dict[State, int]) -> Iterator[str]:
        top = self._bottom + 22
        for place, state in enumerate(SHOWN):
            y = top + 16 * place
            yield path(rect(LEFT, y, 22, 13), fill=COLOURS[state])
            style: dict[str, str | float] = {"text_anchor": "middle", "font_size": 11, "fill": text_on(COLOURS[state])}
            yield text(LEFT + 11, y + 11, SIGNS[state], **style)
            yield text(LEFT + 28, y + 11, f"{counts[state]} {state.name.lower()}", class_="tk-label")
