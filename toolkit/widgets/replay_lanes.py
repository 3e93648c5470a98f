"""The timeline, the arrows and the memory of a replay as SVG, with a cursor through all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from toolkit.analysis.replaying import Replaying
from toolkit.geometry.drawing.palette import rank_colour
from toolkit.geometry.drawing.svg import HATCH, Drawing, path, rect, svg, text
from toolkit.plot.gantt import MOVES, STYLES, by_kind
from toolkit.plot.memory_parts import thin
from toolkit.plot.replay_panels import Panel, Scales
from toolkit.plot.theme import BROWN, VERMILION
from toolkit.widgets.replay_picking import Pick, event_at, pick_arrow, pick_event
from toolkit.widgets.replay_selection import Selection

LEFT, WIDE, TOP = 54, 330, 18
ARROWS = 84
"""Width of the column of arrows, in pixels."""

ARROWS_LEFT = LEFT + WIDE + 20
MEMORY, GAP = 100, 18
REACH = 3
"""Pixels by which a click may miss a brief event."""

MOST_BARS, MOST_POINTS, MOST_OUTLINED, NAMED = 700, 900, 40, 8
GREY = "#9AA3AD"


@dataclass(frozen=True, slots=True)
class _Bar:
    """Where an event is drawn."""

    left: int
    top: int
    wide: int
    high: int

    @property
    def data(self) -> str:
        return rect(self.left, self.top, self.wide, self.high)


class ReplayLanes:
    """The lanes of one subject. What stays the same is drawn once.

    Args:
        replay: The subject.
        scales: The scales that all subjects share.
        limit: Bytes that a rank may use, or None.
    """

    def __init__(self, replay: Replaying, scales: Scales, limit: int | None) -> None:
        self._of, self._scales = replay, scales
        self._panel = Panel.of(replay, 0, scales, MOST_BARS)
        self._ranks = self._panel.ranks
        self._pitch = min(max(260 // len(self._ranks), 9), 24)
        self._floor = TOP + self._pitch * len(self._ranks)
        self._low = self._floor + GAP + MEMORY
        self._kinds: list[str] = []
        self._still = "".join([*self._bars(), *self._curves(), *self._limit(limit), *self._words()])

    def svg(self, time: float, since: float, chosen: Selection) -> Drawing:
        """The lanes at a moment.

        Args:
            time: Seconds since the run began.
            since: The moment before; arrows are the messages under way since then.
            chosen: What is emphasised.
        """
        unit, levels = self._scales.time, self._of.levels(time)
        under_way = self._of.under_way(time, since)
        said = f"Timeline, {len(under_way)} messages and memory at {time * unit.scale:.4g} {unit.name}"
        x = self._x(time)
        through = f"M{x} {TOP - 4}V{self._floor}M{x} {self._floor + GAP}V{self._low}"
        cursor = path(through, stroke=VERMILION, stroke_width=2)
        end = "end" if x > LEFT + WIDE / 2 else "start"
        now = text(x, TOP - 7, f"{time * unit.scale:.4g} {unit.name}", text_anchor=end, class_="tk-label tk-name")
        moving = [cursor, now, *self._arrows(time, since, chosen), *self._dots(x, levels)]
        parts = [self._still, *self._chosen(chosen), *moving]
        rows = -(-len(self._kinds) // 6)
        return svg(LEFT + WIDE + 16 + ARROWS, self._low + 34 + 16 * rows, summary=said, parts=parts)

    def picked(self, x: float, y: float, *, time: float, since: float) -> Pick:
        """What a click selects, and the moment that it goes to.

        Args:
            x: Across, as drawn by :meth:`svg`.
            y: Down.
            time: The moment that is shown.
            since: The moment before.
        """
        row = (y - TOP) / self._pitch
        on_ranks = 0 <= row < len(self._ranks)
        if LEFT - REACH <= x <= LEFT + WIDE + REACH and TOP <= y <= self._low:
            second = self._scales.end / WIDE
            at = min(max((x - LEFT) * second, 0.0), self._scales.end)
            if on_ranks:
                thin_ = 1 / 3 <= row % 1 < 2 / 3
                event = event_at(self._of, self._ranks[int(row)], at, reach=REACH * second, thin=thin_)
                if event >= 0:
                    return pick_event(self._of, event, at)
            return Pick(time=at)
        if on_ranks and x > LEFT + WIDE + REACH:
            slot = (x - ARROWS_LEFT) / self._arrow_step(self._panel.pairs(time, since))
            return pick_arrow(self._of, self._panel, time=time, since=since, row=row, slot=slot)
        return Pick()

    def _x(self, time: float) -> int:
        return LEFT + round(WIDE * time / self._scales.end)

    def _y(self, size: float) -> int:
        return self._low - round(MEMORY * 0.95 * (size + self._scales.base) / (self._scales.top or 1.0))

    def _bar(self, rank: int, kind: str, start: float, end: float) -> _Bar:
        row, thin_ = self._ranks.index(rank), kind in MOVES
        top = TOP + row * self._pitch + (self._pitch // 3 if thin_ else 1)
        high = max(self._pitch // 3 if thin_ else self._pitch - 2, 2)
        left = self._x(start)
        return _Bar(left, top, max(self._x(end) - left, 1), high)

    def _bars(self) -> Iterator[str]:
        yield path(rect(LEFT, TOP, WIDE, self._floor - TOP), class_="tk-tile", fill_opacity=0.35)
        for kind, events in by_kind(self._panel.timeline()):
            self._kinds.append(kind)
            colour, pattern = STYLES.get(kind, (BROWN, "-"))
            rows = zip(events["rank"], events["start"], events["end"], strict=True)
            data = "".join(self._bar(rank, kind, start, end).data for rank, start, end in rows)
            yield path(data, fill=GREY if kind == "wait" else colour, fill_opacity=0.45 if kind == "wait" else 1)
            if pattern and kind not in (*MOVES, "wait"):
                yield path(data, fill=HATCH)
        for row, rank in enumerate(self._ranks):
            y = TOP + row * self._pitch
            yield path(rect(LEFT - 8, y + 1, 6, self._pitch - 2), fill=rank_colour(rank))
            name = f"rank {rank}" if self._pitch >= 12 else str(rank)
            yield _label(LEFT - 11, y + self._pitch / 2 + 4, name, end=True, size=min(11, self._pitch))

    def _curves(self) -> Iterator[str]:
        curves = {rank: curve for rank, curve in self._of.curves.items() if rank in self._ranks and len(curve[0])}
        strong = sorted(curves, key=lambda rank: -curves[rank][1].max())[:NAMED]
        yield path(f"M{LEFT} {self._low}h{WIDE}", class_="tk-axis")
        for rank, (times, levels) in sorted(curves.items(), key=lambda item: item[0] in strong):
            table = thin(pd.DataFrame({"time": times, "bytes": levels}), max(24, MOST_POINTS // len(curves)))
            steps = "".join(f"H{self._x(at)}V{self._y(size)}" for at, size in table.itertuples(index=False))
            opacity, data = 1 if rank in strong else 0.25, f"M{LEFT} {self._y(0.0)}{steps}"
            yield path(data, stroke=rank_colour(rank), class_="tk-curve", stroke_opacity=opacity)

    def _limit(self, limit: int | None) -> Iterator[str]:
        if limit is not None:
            y, size = self._y(limit - self._scales.base), self._scales.size
            yield path(f"M{LEFT} {y}h{WIDE}", stroke=VERMILION, stroke_dasharray="6 4", stroke_width=2)
            yield _label(LEFT + WIDE + 4, y + 4, f"limit {limit * size.scale:.3g} {size.name}", size=10)

    def _words(self) -> Iterator[str]:
        """Names and ends of axes, and the legend of the kinds of events."""
        time, size = self._scales.time, self._scales.size
        below = self._low + 13
        yield _label(LEFT, below, "0")
        yield _label(LEFT + WIDE, below, f"{self._scales.end * time.scale:.4g} {time.name}", end=True)
        name = "bars: what a rank did most" if self._panel.coarse else "time since the run began"
        name += f"; {len(self._ranks)} of {len(self._of.ranks)} ranks" if self._panel.which_ranks else ""
        yield text(LEFT + WIDE / 2, below, name, text_anchor="middle", class_="tk-label")
        if self._of.curves:
            top = f"{self._scales.top * size.scale:.3g} {size.name}"
            yield _label(LEFT - 4, self._y(self._scales.top - self._scales.base) + 4, top, end=True, size=10)
            yield _label(LEFT - 4, self._low, "0", end=True, size=10)
            word = "memory, weights included" if self._scales.base else "memory"
            yield _label(LEFT + 4, self._floor + GAP - 4, word, size=10)
        else:
            yield _label(LEFT + 4, self._low - MEMORY / 2, "memory was not measured")
        yield text(LEFT + WIDE + 16, TOP - 7, "messages", class_="tk-label tk-name")
        for place, kind in enumerate(self._kinds):
            x, y = LEFT + 66 * (place % 6), self._low + 22 + 16 * (place // 6)
            colour, pattern = STYLES.get(kind, (BROWN, "-"))
            yield path(rect(x, y, 14, 10), fill=GREY if kind == "wait" else colour)
            if pattern and kind not in (*MOVES, "wait"):
                yield path(rect(x, y, 14, 10), fill=HATCH)
            yield _label(x + 18, y + 10, kind)

    def _arrows(self, time: float, since: float, chosen: Selection) -> Iterator[str]:
        """One arrow per pair of ranks, from the sender's row to the receiver's; those of the selection are thick."""
        pairs = self._panel.pairs(time, since)
        step = self._arrow_step(pairs)
        wanted = self._of.messages.iloc[list(chosen.messages)] if chosen.messages else self._of.messages[:0]
        bold = set(zip(wanted["sender"], wanted["receiver"], strict=True))
        thick: list[str] = []
        normal: list[str] = []
        columns = (pairs[name].tolist() for name in ("sender", "receiver", "sender_row", "receiver_row", "slot"))
        for sender, receiver, begin, end, slot in zip(*columns, strict=True):
            x = round(ARROWS_LEFT + slot * step, 1)
            a, b = (TOP + (0.5 + at) * self._pitch for at in (begin, end))
            back = -5 if b > a else 5
            data = f"M{x:g} {a:g}V{b + back:g}M{x - 4:g} {b + back:g}L{x:g} {b:g}L{x + 4:g} {b + back:g}z"
            (thick if (sender, receiver) in bold else normal).append(data)
        for arrows, width in ((normal, 1.5), (thick, 3.5)):
            if arrows:
                yield path("".join(arrows), stroke=VERMILION, fill=VERMILION, stroke_width=width)

    def _arrow_step(self, pairs: pd.DataFrame) -> float:
        """Pixels from one column of arrows to the next."""
        return float(min(11.0, (ARROWS - 12) / (1 + pairs["slot"].max()))) if len(pairs) else 11.0

    def _dots(self, x: int, levels: dict[int, float]) -> Iterator[str]:
        for rank in self._ranks:
            if rank in levels:
                y = self._y(levels[rank])
                yield path(f"M{x} {y}h0", stroke=rank_colour(rank), class_="tk-dots")

    def _chosen(self, chosen: Selection) -> Iterator[str]:
        """Outlines of the selected event and of all events of the selected part, and a band over the memory."""
        trace = self._of.trace
        if chosen.part >= 0:
            own = trace[(self._of.parts.of_event == chosen.part) & trace["rank"].isin(self._ranks)]
            # Outlines of hundreds of brief events would cover each other.
            own = own if len(own) <= MOST_OUTLINED else own[:0]
            rows = zip(own["rank"], own["kind"], own["start"], own["end"], strict=True)
            yield path("".join(self._bar(*row).data for row in rows), class_="tk-box", stroke_width=1)
        if chosen.event >= 0 and chosen.rank in self._ranks:
            row: Any = trace.loc[chosen.event]
            bar = self._bar(chosen.rank, row["kind"], row["start"], row["end"])
            yield path(rect(bar.left - 2, bar.top - 2, bar.wide + 4, bar.high + 4), class_="tk-box", stroke_width=3)
            band = rect(bar.left, self._floor + GAP, bar.wide, MEMORY)
            yield path(band, fill=rank_colour(chosen.rank), fill_opacity=0.25)


def _label(x: float, y: float, content: str, *, end: bool = False, size: float = 11) -> str:
    """A text in the page's colour, that begins or ends at ``x``."""
    return text(x, y, content, class_="tk-label", font_size=size, text_anchor="end" if end else "start")


def doing(replay: Replaying, time: float) -> dict[int, str]:
    """What each rank does at a moment, in words; nothing for ranks between two events."""
    trace = replay.trace
    here = trace[(trace["start"] <= time) & (trace["end"] > time)]
    order = here["kind"].map({"send": 1, "receive": 2, "wait": 3}).fillna(0)
    first = here.assign(order=order).sort_values("order", kind="stable").drop_duplicates("rank")
    words = zip(first["rank"], first["kind"], first["label"], strict=True)
    return {int(rank): f"{kind} {label}".strip() for rank, kind, label in words}


def since_of(times: np.ndarray, time: float) -> float:
    """The moment before a time, or the time itself if there is none."""
    place = int(np.searchsorted(times, time)) - 1
    return float(times[place]) if place >= 0 else time
