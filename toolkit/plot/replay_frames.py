"""The parts of a replay's figure that change from moment to moment: colours of the map, arrows, cursors, levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from toolkit.analysis.part_states import State
from toolkit.plot.frame_slider import slider
from toolkit.plot.replay_panels import Panel, axes_of, in_rank_colours, said_at
from toolkit.plot.state_looks import SIGNS, steps
from toolkit.plot.theme import VERMILION

MOST_SIGNS = 144
"""Most parts of a map whose cells show a sign."""

MOST_MARKS = 300
"""Most symbols of each kind on a map without signs."""

PERIOD = 120
"""Milliseconds per moment while a figure plays."""

AT_ONCE = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}

_LINE = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False}


def moving(panels: Sequence[Panel], time: float, since: float) -> list[dict[str, Any]]:
    """All traces that change, as they are at a moment; the same number of traces at every moment."""
    return [trace for panel in panels for trace in _of_panel(panel, time, since)] + [_cursor(panels, 7, time)]


def changes(panels: Sequence[Panel], time: float, since: float) -> list[dict[str, Any]]:
    """What :func:`moving` changes, without what stays the same."""
    kept = ("type", "z", "x", "y", "text", "customdata")
    every = moving(panels, time, since)
    return [{key: trace[key] for key in kept if key in trace and not _fixed(key, trace)} for trace in every]


def _fixed(key: str, trace: Mapping[str, Any]) -> bool:
    """Whether a key of a trace is the same at every moment: the edges of a map's cells are."""
    return trace["type"] == "heatmap" and key in ("x", "y")


def _of_panel(panel: Panel, time: float, since: float) -> Iterator[dict[str, Any]]:
    yield _map(panel, time)
    if not _signed(panel):
        yield from _marks(panel, time)
    yield from _arrows(panel, time, since)
    yield _cursor([panel], 5 + panel.place, time)
    yield _levels(panel, time)


def _map(panel: Panel, time: float) -> dict[str, Any]:
    sheet, states = panel.sheet, panel.replay.map(time)
    names = [[_name(panel, part) for part in row] for row in sheet.cells.tolist()]
    signed = _signed(panel)
    texts = {
        "text": [
            [_text(panel, part, state) for part, state in zip(*row, strict=True)]
            for row in zip(sheet.cells.tolist(), states.tolist(), strict=True)
        ],
        "texttemplate": "%{text}",
    }
    return {
        "type": "heatmap",
        "x": np.asarray(sheet.x, np.float32),
        "y": np.asarray(sheet.y, np.float32),
        "z": states,
        "zmin": -0.5,
        "zmax": len(SIGNS) - 0.5,
        "colorscale": steps(),
        "showscale": False,
        "xgap": 1 if signed else 0,
        "ygap": 1 if signed else 0,
        **(texts if signed else {}),
        "hovertext": names,
        "hovertemplate": "%{hovertext}<extra></extra>",
        **panel.map_axes,
    }


def _signed(panel: Panel) -> bool:
    """Whether cells have room for a sign; if not, what moves is marked by symbols of its own."""
    return len(panel.replay.parts.names) <= MOST_SIGNS and max(panel.sheet.cells.shape) <= 16


def _marks(panel: Panel, time: float) -> Iterator[dict[str, Any]]:
    """Symbols on the parts that are computed or travel, for readers who cannot tell their colours apart."""
    sheet, states = panel.sheet, panel.replay.map(time)
    x, y = (np.asarray(edges[:-1]) + np.diff(edges) / 2 for edges in (sheet.x, sheet.y))
    size = min(max(180 // max(states.shape), 4), 9)
    for state, symbol, ink in ((State.COMPUTING, "triangle-right", "#FFFFFF"), (State.TRAVELLING, "x-thin", "#000000")):
        rows, columns = (places[:MOST_MARKS] for places in np.nonzero(states == state))
        yield {
            "type": "scatter",
            "mode": "markers",
            "x": x[columns].astype(np.float32),
            "y": y[rows].astype(np.float32),
            "marker": {"symbol": symbol, "size": size, "color": ink, "line": {"width": 1, "color": ink}},
            "showlegend": False,
            "hoverinfo": "skip",
            **panel.map_axes,
        }


def _text(panel: Panel, part: int, state: int) -> str:
    return f"{panel.replay.parts.owners[part]} {SIGNS[State(state)]}" if part >= 0 else ""


def _name(panel: Panel, part: int) -> str:
    parts = panel.replay.parts
    return f"{parts.names[part]}, rank {parts.owners[part]}" if part >= 0 else ""


def _arrows(panel: Panel, time: float, since: float) -> Iterator[dict[str, Any]]:
    """Lines from senders to receivers, and their heads: those that point down, and those that point up."""
    pairs = panel.pairs(time, since)
    slot, begin, end = (pairs[name].to_numpy(np.float32) for name in ("slot", "sender_row", "receiver_row"))
    gap = np.full(len(pairs), np.nan, np.float32)
    line = {"width": 2, "color": VERMILION}
    x, y = (np.stack(each, 1).ravel() for each in ((slot, slot, gap), (begin, end, gap)))
    yield {**_LINE, "x": x, "y": y, "line": line, **panel.arrow_axes}
    for symbol, chosen in (("triangle-down", begin < end), ("triangle-up", begin > end)):
        rows = pairs[["sender", "receiver", "bytes"]].to_numpy(np.float32)[chosen]
        yield {
            "type": "scatter",
            "mode": "markers",
            "x": slot[chosen],
            "y": end[chosen],
            "customdata": rows,
            "marker": {"symbol": symbol, "size": 9, "color": VERMILION},
            "hovertemplate": "rank %{customdata[0]} to rank %{customdata[1]}: %{customdata[2]:.3s}B<extra></extra>",
            "showlegend": False,
            **panel.arrow_axes,
        }


def _cursor(panels: Sequence[Panel], number: int, time: float) -> dict[str, Any]:
    scales = panels[0].scales
    at = np.full(2, time * scales.time.scale, np.float32)
    ends = [-0.6, len(panels[0].ranks) - 0.4] if number < 7 else [0, scales.top * scales.size.scale * 1.08]
    line = {"color": VERMILION, "width": 2}
    return {**_LINE, "x": at, "y": np.array(ends, np.float32), "line": line, **axes_of(number)}


def _levels(panel: Panel, time: float) -> dict[str, Any]:
    """The memory of each rank at the moment, as a marker on its curve."""
    scales, levels = panel.scales, panel.replay.levels(time)
    ranks = [rank for rank in panel.ranks if rank in levels]
    sizes = np.array([levels[rank] + scales.base for rank in ranks], np.float64) * scales.size.scale
    return {
        "type": "scatter",
        "mode": "markers",
        "x": np.full(len(ranks), time * scales.time.scale, np.float32),
        "y": sizes.astype(np.float32),
        "marker": {"size": 8, "symbol": "diamond" if panel.place else "circle", **in_rank_colours(ranks)},
        "hovertext": [f"rank {rank}, {panel.replay.word}" for rank in ranks],
        "hovertemplate": f"%{{hovertext}}: %{{y:.4~g}} {scales.size.name}<extra></extra>",
        "showlegend": False,
        **axes_of(7),
    }


def title(panels: Sequence[Panel], time: float) -> str:
    """One line that says what happens at a moment."""
    return said_at(panels[0].replay, panels[0].scales, time)


def frames(panels: Sequence[Panel], times: Sequence[float], *, behind: int) -> list[dict[str, Any]]:
    """One frame for each moment.

    Args:
        panels: The panels.
        times: The moments.
        behind: Number of traces in the figure before those of :func:`moving`.
    """
    return [
        {
            "name": str(place),
            "data": (data := changes(panels, time, before)),
            "traces": list(range(behind, behind + len(data))),
            "layout": {"title": {"text": title(panels, time)}},
        }
        for place, (before, time) in enumerate(pairwise([times[0], *times]))
    ]


def controls(panels: Sequence[Panel], times: Sequence[float], *, first: int) -> dict[str, Any]:
    """A slider over the frames, and the buttons Play and Pause on its left.

    Args:
        panels: The panels.
        times: The moments.
        first: The place of the moment that is shown first.
    """
    unit = panels[0].scales.time
    stops = [
        {"label": f"{time * unit.scale:.4g} {unit.name}", "method": "animate", "args": [[str(place)], AT_ONCE]}
        for place, time in enumerate(times)
    ]
    running = {"frame": {"duration": PERIOD, "redraw": True}, "transition": {"duration": 0}, "fromcurrent": True}
    buttons = [
        {"label": "Play", "method": "animate", "args": [None, running | {"mode": "immediate"}]},
        {"label": "Pause", "method": "animate", "args": [[None], AT_ONCE]},
    ]
    grey = {"bgcolor": "rgba(127,127,127,0.15)", "bordercolor": "rgba(127,127,127,0.6)", "font": {"size": 12}}
    menu = {"type": "buttons", "direction": "left", "showactive": False, "buttons": buttons, **grey}
    below = {"x": 0, "y": 0, "xanchor": "left", "yanchor": "top", "pad": {"t": 64}}
    return {
        "sliders": [slider(stops, first, prefix="moment: ") | {"x": 0.2, "len": 0.8}],
        "updatemenus": [menu | below],
    }
