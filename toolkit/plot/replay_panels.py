"""The panels of a replay's figure, and what stays the same in them from moment to moment: bars, curves, legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.analysis.flights import slots_of
from toolkit.analysis.part_sheet import Sheet, small
from toolkit.analysis.part_states import SHOWN
from toolkit.analysis.replaying import Replaying
from toolkit.geometry.drawing.palette import RANK_COLOURS, rank_colour
from toolkit.plot.gantt import by_kind, kind_bars
from toolkit.plot.memory_parts import limit_line, thin
from toolkit.plot.state_fills import names
from toolkit.plot.state_looks import COLOURS, SIGNS, in_words
from toolkit.plot.theme import VERMILION, Unit

MOST_RANKS = 32
"""Most ranks in timeline and arrows; of more, those with the highest memory are drawn."""

MOST_BARS, MOST_POINTS, LISTED = 800, 2000, 8
MOST_SLOTS = 32
"""Most columns of arrows."""

_CURVE = {"type": "scatter", "mode": "lines", "showlegend": False}


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """What all panels share.

    Attributes:
        time: Unit of time.
        size: Unit of memory.
        end: Seconds until the longest subject has ended.
        base: Bytes of weights that are added to every curve.
        top: The most bytes on any rank, and the limit.
    """

    time: Unit
    size: Unit
    end: float
    base: int
    top: float


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """The panels of one subject: its map, its arrows and its timeline.

    Attributes:
        replay: The subject.
        place: 0 for the first subject, 1 for the second.
        scales: What all panels share.
        ranks: The ranks that are drawn, one row each.
        sheet: The map, in at most 64 rows and columns.
        bars: Most bars in the timeline.
    """

    replay: Replaying
    place: int
    scales: Scales
    ranks: tuple[int, ...]
    sheet: Sheet
    bars: int

    @classmethod
    def of(cls, replay: Replaying, place: int, scales: Scales, bars: int) -> Panel:
        """The panels of a subject."""
        ranks = replay.ranks
        if len(ranks) > MOST_RANKS:
            peaks = {rank: levels.max(initial=0.0) for rank, (_, levels) in replay.curves.items()}
            ranks = tuple(sorted(sorted(ranks, key=lambda rank: -peaks.get(rank, 0.0))[:MOST_RANKS]))
        return cls(replay, place, scales, ranks, small(replay.parts.sheet), bars)

    @property
    def map_axes(self) -> dict[str, str]:
        """The axes of the map."""
        return axes_of(1 + self.place)

    @property
    def arrow_axes(self) -> dict[str, str]:
        """The axes of the arrows."""
        return axes_of(3 + self.place)

    @property
    def time_axes(self) -> dict[str, str]:
        """The axes of the timeline."""
        return axes_of(5 + self.place)

    @property
    def which_ranks(self) -> str:
        """Which ranks have rows, in words, if not all; else empty."""
        if len(self.ranks) == len(self.replay.ranks):
            return ""
        return f"{len(self.ranks)} of {len(self.replay.ranks)} ranks, with the highest memory"

    @property
    def coarse(self) -> bool:
        """Whether bars show what a rank did most of the time, because there are too many events to draw each."""
        return len(self._events) > self.bars

    @property
    def _events(self) -> pd.DataFrame:
        return self.replay.trace[self.replay.trace["rank"].isin(self.ranks)]

    def pairs(self, time: float, since: float) -> pd.DataFrame:
        """One row per arrow: sender and receiver with their rows, column, bytes; the largest first."""
        under_way = self.replay.under_way(time, since)
        ends = [under_way[end].to_numpy(np.int64) for end in ("sender", "receiver")]
        row = np.full(1 + max(0, *self.replay.ranks, *(int(end.max(initial=0)) for end in ends)), -1)
        row[list(self.ranks)] = np.arange(len(self.ranks))
        drawn = (row[ends[0]] >= 0) & (row[ends[1]] >= 0)
        keys, which = np.unique(row[ends[0]][drawn] * len(self.ranks) + row[ends[1]][drawn], return_inverse=True)
        sizes = np.bincount(which, under_way["bytes"].to_numpy()[drawn], minlength=len(keys))
        order = np.argsort(-sizes, kind="stable")
        begin, end = np.divmod(keys[order], len(self.ranks))
        names = np.array(self.ranks)
        found = {"sender": names[begin], "receiver": names[end], "sender_row": begin, "receiver_row": end}
        slots = slots_of(zip(begin.tolist(), end.tolist(), strict=True))
        table = pd.DataFrame({**found, "bytes": sizes[order], "slot": np.array(slots, np.int64)})
        return table[table["slot"] < MOST_SLOTS]

    def timeline(self) -> pd.DataFrame:
        """The events to draw; see :func:`short_trace`."""
        return short_trace(self._events, self.replay.end, self.bars)

    def still(self) -> Iterator[dict[str, Any]]:
        """The names of the map's cells, the timeline, and the colour of each rank beside its rows."""
        parts = self.replay.parts
        said = [f"{name}, rank {rank}" for name, rank in zip(parts.names, parts.owners.tolist(), strict=True)]
        words = [[said[part] if part >= 0 else "" for part in row] for row in self.sheet.cells.tolist()]
        yield names(self.sheet, words) | self.map_axes
        row = {rank: place for place, rank in enumerate(self.ranks)}
        drawn = self.timeline()
        drawn = drawn.assign(rank=drawn["rank"].map(row))
        for kind, group in by_kind(drawn):
            yield kind_bars(group, kind, unit=self.scales.time) | self.time_axes | {"legendgroup": kind}
        rows = np.arange(len(self.ranks))
        left = -0.012 * self.scales.end * self.scales.time.scale
        for axes, x in ((self.time_axes, left), (self.arrow_axes, -1.0)):
            yield {
                "type": "scatter",
                "mode": "markers",
                "x": np.full(len(rows), x, np.float32),
                "y": rows.astype(np.int32),
                "marker": {"symbol": "square", "size": 9, **in_rank_colours(self.ranks)},
                "showlegend": False,
                "hoverinfo": "skip",
                **axes,
            }

    def curves(self, points: int) -> Iterator[dict[str, Any]]:
        """The memory of each rank: that of the eight highest by colour, the others faint and in one trace."""
        time, size = self.scales.time, self.scales.size
        tables = {
            rank: thin(pd.DataFrame({"time": times, "bytes": levels}), max(8, points // len(self.replay.curves)))
            for rank, (times, levels) in self.replay.curves.items()
            if rank in self.ranks and len(times)
        }
        highest = sorted(tables, key=lambda rank: -tables[rank]["bytes"].max())
        axes, dash = axes_of(7), "dot" if self.place else "solid"
        gap = pd.DataFrame({"time": [np.nan], "bytes": [np.nan]})
        others = [part for rank in highest[LISTED:] for part in (tables[rank], gap)]
        if others:
            line = {"shape": "hv", "width": 1, "color": "rgba(127,127,127,0.45)", "dash": dash}
            yield {**_CURVE, **self._points(pd.concat(others)), "line": line, "hoverinfo": "skip", **axes}
        for rank in sorted(highest[:LISTED]):
            name = f"rank {rank}" + (f", {self.replay.word}" if self.place else "")
            yield {
                **_CURVE,
                **self._points(tables[rank]),
                "line": {"shape": "hv", "width": 1.5, "color": rank_colour(rank), "dash": dash},
                "hovertemplate": f"{name}<br>%{{y:.4~g}} {size.name} at %{{x:.4~g}} {time.name}<extra></extra>",
                **axes,
            }

    def _points(self, table: pd.DataFrame) -> dict[str, Any]:
        time, size = self.scales.time, self.scales.size
        return {
            "x": (table["time"] * time.scale).to_numpy(np.float32),
            "y": ((table["bytes"] + self.scales.base) * size.scale).to_numpy(np.float32),
        }


def legend(panels: Sequence[Panel], limit: int | None) -> Iterator[dict[str, Any]]:
    """Entries of the legend for what has no trace of its own: states and arrows; and the line of the limit."""
    nowhere = {"type": "scatter", "mode": "markers", "x": [None], "y": [None], "hoverinfo": "skip"}
    for state in SHOWN:
        marker = {"symbol": "square", "size": 11, "color": COLOURS[state]}
        yield {**nowhere, "name": f"{SIGNS[state]} {state.name.lower()}", "marker": marker, "showlegend": True}
    marker = {"symbol": "triangle-down", "size": 9, "color": VERMILION}
    yield {**nowhere, "name": "message", "marker": marker, "showlegend": True}
    if limit is not None:
        scales = panels[0].scales
        yield limit_line(limit, scales.end * scales.time.scale, size=scales.size) | {"showlegend": True} | axes_of(7)


def said_at(replay: Replaying, scales: Scales, time: float) -> str:
    """One line that says what happens at a moment of a run: ``at 2 s of 4 s: 1 computing, 2 done``."""
    unit = scales.time
    over = ", over since" if time > replay.end else " of"
    when = f"{time * unit.scale:.4g} {unit.name}{over} {replay.end * unit.scale:.4g} {unit.name}"
    return f"at {when}: {in_words(replay.counts(time))}"


def short_trace(trace: pd.DataFrame, end: float, most: int) -> pd.DataFrame:
    """The trace as at most ``most`` events: if it has more, what each rank did for most of each stretch of time.

    Example:
        >>> rows = [(0, "shard", i * 0.1, i * 0.1 + 0.09) for i in range(10)] + [(0, "wait", 0.5, 0.9)]
        >>> trace = pd.DataFrame(rows, columns=["rank", "kind", "start", "end"]).assign(label="", bytes=0)
        >>> short_trace(trace[trace["start"] != 0.6], 1.0, 5)[["kind", "start", "end"]].round(3).values.tolist()
        [['shard', 0.0, 0.6], ['wait', 0.6, 0.8], ['shard', 0.8, 1.0]]
    """
    if len(trace) <= most:
        return trace
    rows: list[tuple[int, str, str, float, float, int]] = []
    edges = np.linspace(0.0, end, max(4, most // trace["rank"].nunique()) + 1)
    said = f"for most of {edges[1]:.3g} s"
    for rank, events in trace.groupby("rank"):
        kinds = list(by_kind(events))
        # A stretch that no kind of event fills by a tenth stays empty.
        spent = np.stack([np.full(len(edges) - 1, edges[1] / 10), *(_spent(group, edges) for _, group in kinds)])
        most_of = spent.argmax(axis=0)
        begins = np.flatnonzero(np.diff(most_of, prepend=-1))
        for begin, stop in zip(begins, [*begins[1:], len(most_of)], strict=True):
            if place := most_of[begin]:
                rows.append((int(str(rank)), kinds[place - 1][0], said, edges[begin], edges[stop], 0))
    return pd.DataFrame(rows, columns=["rank", "kind", "label", "start", "end", "bytes"])


def _spent(events: pd.DataFrame, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Seconds of each stretch between two edges that events of one kind fill."""
    start, stop = (np.sort(events[name].to_numpy(np.float64)) for name in ("start", "end"))
    # Up to a moment, events have filled the time since each began, less the time since each ended.
    since = [
        np.searchsorted(at, edges) * edges - np.concatenate([[0.0], at.cumsum()])[np.searchsorted(at, edges)]
        for at in (start, stop)
    ]
    return np.asarray(np.diff(since[0] - since[1]))


def in_rank_colours(ranks: Sequence[int]) -> dict[str, Any]:
    """A marker in the colour of each rank, by numbers on a scale, which take less room than names of colours."""
    count = len(RANK_COLOURS)
    scale = [[(place + side) / count, colour] for place, colour in enumerate(RANK_COLOURS) for side in (0, 1)]
    numbers = np.array([rank % count for rank in ranks], np.uint8)
    return {"color": numbers, "colorscale": scale, "cmin": -0.5, "cmax": count - 0.5, "showscale": False}


def axes_of(number: int) -> dict[str, str]:
    """The names of a pair of axes: 1, 2 for maps, 3, 4 for arrows, 5, 6 for timelines, 7 for memory, 8 for a line."""
    name = "" if number == 1 else str(number)
    return {"xaxis": f"x{name}", "yaxis": f"y{name}"}
