"""The parts of a replay's figure that change from moment to moment: colours of the map, arrows, cursors, levels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from toolkit.analysis.part_states import State
from toolkit.plot.frame_slider import slider
from toolkit.plot.replay_panels import Panel, axes_of, in_rank_colours, said_at
from toolkit.plot.state_fills import NOWHERE, centres, fills, signed, signs
from toolkit.plot.theme import VERMILION

MOST_MARKS = 300
"""Most symbols of each kind on a map without signs."""

PERIOD = 120
"""Milliseconds per moment while a figure plays."""

AT_ONCE = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}, "transition": {"duration": 0}}
"""Without a redraw, which would take four times as long: every trace that changes is a scatter, and no layout does."""

_LINE = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False}


def moving(panels: Sequence[Panel], time: float, since: float) -> list[dict[str, Any]]:
    """All traces that change, as they are at a moment; the same number of traces at every moment."""
    every = [trace for panel in panels for trace in _of_panel(panel, time, since)]
    return [*every, _cursor(panels, 7, time), _headline(panels, time)]


def changes(panels: Sequence[Panel], time: float, since: float) -> list[dict[str, Any]]:
    """What :func:`moving` changes, without what stays the same."""
    kept = ("type", "x", "y", "text", "customdata")
    return [{key: trace[key] for key in kept if key in trace} for trace in moving(panels, time, since)]


def _of_panel(panel: Panel, time: float, since: float) -> Iterator[dict[str, Any]]:
    for trace in _map(panel, time):
        yield trace | panel.map_axes
    yield from _arrows(panel, time, since)
    yield _cursor([panel], 5 + panel.place, time)
    yield _levels(panel, time)


def _map(panel: Panel, time: float) -> Iterator[dict[str, Any]]:
    sheet, states, parts = panel.sheet, panel.replay.map(time), panel.replay.parts
    apart = signed(sheet, len(parts.names))
    yield from fills(sheet, states, apart=apart)
    yield from signs(sheet, states, parts.owners) if apart else _marks(panel, time)


def _marks(panel: Panel, time: float) -> Iterator[dict[str, Any]]:
    """Symbols on the parts that are computed or travel, for readers who cannot tell their colours apart."""
    states = panel.replay.map(time)
    x, y = centres(panel.sheet)
    size = min(max(180 // max(states.shape), 4), 9)
    for state, symbol, ink in ((State.COMPUTING, "triangle-right", "#FFFFFF"), (State.TRAVELLING, "x-thin", "#000000")):
        rows, columns = (places[:MOST_MARKS] for places in np.nonzero(states == state))
        yield {
            "type": "scatter",
            "mode": "markers",
            "x": _there(x[columns]),
            "y": _there(y[rows]),
            "marker": {"symbol": symbol, "size": size, "color": ink, "line": {"width": 1, "color": ink}},
            "showlegend": False,
            "hoverinfo": "skip",
        }


def _there(places: np.ndarray) -> np.ndarray:
    """Places of points, or of none."""
    return places.astype(np.float32) if len(places) else NOWHERE


def _arrows(panel: Panel, time: float, since: float) -> Iterator[dict[str, Any]]:
    """Lines from senders to receivers, and their heads: those that point down, and those that point up."""
    pairs = panel.pairs(time, since)
    slot, begin, end = (pairs[name].to_numpy(np.float32) for name in ("slot", "sender_row", "receiver_row"))
    gap = np.full(len(pairs), np.nan, np.float32)
    line = {"width": 2, "color": VERMILION}
    x, y = (np.stack(each, 1).ravel() for each in ((slot, slot, gap), (begin, end, gap)))
    yield {**_LINE, "x": _there(x), "y": _there(y), "line": line, **panel.arrow_axes}
    for symbol, chosen in (("triangle-down", begin < end), ("triangle-up", begin > end)):
        rows = pairs[["sender", "receiver", "bytes"]].to_numpy(np.float32)[chosen]
        yield {
            "type": "scatter",
            "mode": "markers",
            "x": _there(slot[chosen]),
            "y": _there(end[chosen]),
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


def _headline(panels: Sequence[Panel], time: float) -> dict[str, Any]:
    """One line above the panels that says what happens at the moment."""
    return {
        "type": "scatter",
        "mode": "text",
        "x": [0],
        "y": [0],
        "text": [said_at(panels[0].replay, panels[0].scales, time).capitalize()],
        "textposition": "middle right",
        "textfont": {"size": 13},
        "cliponaxis": False,
        "hoverinfo": "skip",
        "showlegend": False,
        **axes_of(8),
    }


def frames(panels: Sequence[Panel], times: Sequence[float], *, behind: Sequence[str]) -> list[dict[str, Any]]:
    """One frame for each moment.

    Args:
        panels: The panels.
        times: The moments.
        behind: The types of the traces in the figure before those of :func:`moving`.
    """
    # Without a redraw, plotly.js removes the bars that a frame does not name.
    bars = [place for place, kind in enumerate(behind) if kind == "bar"]
    found = []
    for place, (before, time) in enumerate(pairwise([times[0], *times])):
        data = changes(panels, time, before)
        where = [*range(len(behind), len(behind) + len(data)), *bars]
        found.append({"name": str(place), "data": data + [{"type": "bar"}] * len(bars), "traces": where})
    return found


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
    running = {"frame": {"duration": PERIOD, "redraw": False}, "transition": {"duration": 0}, "fromcurrent": True}
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
