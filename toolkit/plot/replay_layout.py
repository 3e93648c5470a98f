"""Where the panels of a replay's figure lie: maps and arrows above, timelines below them, and memory at the bottom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolkit.analysis.part_sheet import Sheet
from toolkit.plot.frame_slider import HEIGHT as SLIDER
from toolkit.plot.replay_panels import MOST_SLOTS, Panel

MAP, ARROWS = (0.0, 0.5), (0.6, 1.0)
"""Where the map and the arrows lie along the figure's width."""

HEADLINE = 18
"""Height of the line that says what happens, in pixels."""

MEMORY = 150
"""Height of the panel with the memory, in pixels."""

FIXED = {"automargin": False}
"""Axes whose margins are not measured again at every moment, which would take a fifth of the time."""


def layout(panels: Sequence[Panel], *, entries: int, slots: int, moments: int) -> tuple[dict[str, Any], int]:
    """Axes, titles of axes and margins, and the height of the figure."""
    scales, several = panels[0].scales, len(panels) > 1
    axes: dict[str, Any] = {}
    notes: list[dict[str, Any]] = []
    # Pixels of each row of panels, and of the gap below it.
    most = 190 if several else 260
    maps = [(max(_map_height(panel.sheet, most), min(18 * len(panel.ranks), most)), 68) for panel in panels]
    rows = [(min(max(len(panel.ranks) * 22, 60), 400), 22) for panel in panels]
    line = (HEADLINE, 20 if several else 8)
    inner = sum(height + gap for height, gap in (line, *maps, *rows)) + MEMORY
    above, *spans = _domains([line, *maps, *rows, (MEMORY, 0)], inner)
    axes["xaxis8"] = {"anchor": "y8", "domain": (0.0, 1.0), "range": [0, 1], "visible": False, **FIXED}
    axes["yaxis8"] = {"anchor": "x8", "domain": above, "range": [-1, 1], "visible": False, **FIXED}
    for panel, on_map, over_time in zip(panels, spans, spans[len(panels) :], strict=False):
        place, word = panel.place, panel.replay.word if several else ""
        axes |= _map_layout(panel, on_map) | _row_layout(panel, 3 + place, on_map, ARROWS, "")
        axes[f"xaxis{3 + place}"] |= {"range": [-1.6, max(slots, 6) - 0.4], "showgrid": False, "showticklabels": False}
        some = f",<br>in {MOST_SLOTS} columns at most" if slots >= MOST_SLOTS else ""
        axes[f"xaxis{3 + place}"]["title"] = {"text": f"messages since the moment before{some}", "standoff": 4}
        axes |= _row_layout(panel, 5 + place, over_time, (0.0, 1.0), word)
        axes[f"xaxis{5 + place}"] |= {"showticklabels": False, "matches": "x7"}
        notes += [_note(x, y, text, panel.map_axes) for x, y, text in panel.sheet.notes]
        if several:
            corner = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
            notes.append({**corner, "x": 0, "y": on_map[1], "text": f"<b>{word}</b>", "font": {"size": 12}})
    unit = scales.time
    edge = scales.end * unit.scale
    coarse = "; bars: what a rank did most" if any(panel.coarse for panel in panels) else ""
    some = next((f"; {panel.which_ranks}" for panel in panels if panel.which_ranks), "")
    axes["xaxis7"] = {
        "anchor": "y7",
        "title": {
            "text": f"time since the run began ({unit.name}); {moments} moments, by slider or Play{coarse}{some}",
            "standoff": 4,
        },
        **FIXED,
        "range": [-0.02 * edge, edge * 1.01],
    }
    what = "allocated, weights included" if scales.base else "allocated"
    axes["yaxis7"] = {"anchor": "x7", "domain": spans[-1], "title": {"text": f"{what} ({scales.size.name})"}}
    axes["yaxis7"] |= FIXED
    axes["yaxis7"]["range"] = [0, scales.top * scales.size.scale * 1.08 or 1]
    top = 64 + 19 * -(-entries // 5)
    margin = {"l": 78, "r": 24, "t": top, "b": 56 + SLIDER}
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1 + 8 / inner, "yanchor": "bottom"}
    height = inner + margin["t"] + margin["b"]
    return {**axes, "annotations": notes, "margin": margin, "legend": legend, "barmode": "overlay"}, height


def _map_layout(panel: Panel, span: tuple[float, float]) -> dict[str, Any]:
    sheet, number = panel.sheet, panel.place + 1
    name = "" if number == 1 else str(number)
    x: dict[str, Any] = {"anchor": f"y{name}", "domain": MAP, "range": [sheet.x[0], sheet.x[-1]]}
    x |= {"title": {"text": sheet.names[0], "standoff": 4}, "showgrid": False, "constrain": "domain", **FIXED}
    y: dict[str, Any] = {"anchor": f"x{name}", "domain": span, "title": {"text": sheet.names[1]}}
    y |= {"range": [sheet.y[-1], sheet.y[0]], "showgrid": False}
    if sheet.rows:
        y |= {"tickvals": [place + 0.5 for place in range(len(sheet.rows))], "ticktext": list(sheet.rows)}
    else:
        y |= {"scaleanchor": f"x{name}", "constrain": "domain", "showticklabels": bool(sheet.names[1])}
    return {f"xaxis{name}": x, f"yaxis{name}": y}


def _row_layout(
    panel: Panel, number: int, span: tuple[float, float], across: tuple[float, float], word: str
) -> dict[str, Any]:
    """Axes with one row per rank; with more than eight ranks, some have no name."""
    every = -(-len(panel.ranks) // 8)
    y = {
        "anchor": f"x{number}",
        "domain": span,
        "title": {"text": word},
        "tickvals": list(range(0, len(panel.ranks), every)),
        "ticktext": [f"rank {rank}" for rank in panel.ranks[::every]],
        "range": [len(panel.ranks) - 0.4, -0.6],
        "showgrid": False,
        **FIXED,
    }
    edge = panel.scales.end * panel.scales.time.scale
    return {
        f"xaxis{number}": {"anchor": f"y{number}", "domain": across, "range": [-0.02 * edge, edge * 1.01], **FIXED},
        f"yaxis{number}": y,
    }


def _map_height(sheet: Sheet, most: int) -> int:
    if sheet.rows:
        return min(max(28 * len(sheet.rows), 70), most)
    return min(max(round(340 * sheet.y[-1] / sheet.x[-1]), 70), most)


def _domains(rows: Sequence[tuple[int, int]], inner: int) -> list[tuple[float, float]]:
    """The part of the height that each row of panels takes, from the top."""
    found, at = [], 0
    for height, gap in rows:
        found.append((max(0.0, 1 - (at + height) / inner), 1 - at / inner))
        at += height + gap
    return found


def _note(x: float, y: float, text: str, axes: dict[str, str]) -> dict[str, Any]:
    at = {"x": x, "y": y, "xref": axes["xaxis"], "yref": axes["yaxis"], "xanchor": "left", "yanchor": "bottom"}
    return {**at, "text": text, "showarrow": False, "font": {"size": 10}}
