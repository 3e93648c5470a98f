"""The view of a sweep: a line for each row across its parameters and measures, and the details of one row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from toolkit.geometry.drawing.html import figure, table, word
from toolkit.geometry.drawing.palette import THIN_MARKS
from toolkit.geometry.drawing.style import STYLE
from toolkit.geometry.drawing.svg import group, path, svg, text
from toolkit.plot.scales import sampled
from toolkit.plot.sweep_axis import Axis
from toolkit.plot.sweep_figure import varies
from toolkit.plot.sweep_table import SweepTable, brief, missing, numeric, quantity, short
from toolkit.widgets.markup import page, refusal

MOST_LINES, MOST_TITLES, MOST_AXES, LETTERS = 600, 120, 12, 18
LEVELS = 10
COLOURS = tuple(f"rgb{colour}" for colour in sampled(THIN_MARKS, np.linspace(0.0, 1.0, LEVELS).tolist()))
"""Colours of the lines, without the darkest and palest, which would vanish on dark or light pages."""

REACH = 8
"""Pixels by which a click may miss a line."""

_LEFT, _TOP, _HIGH, _PITCH, _LANE, _RIGHT = 70, 34, 200, 112, 24, 40


def drawing(read: SweepTable, target: str, *, kept: np.ndarray, chosen: int | None) -> str:
    """Parallel coordinates: kept rows in the colour of the target, others faint, the chosen row on top.

    Args:
        read: The table.
        target: The measure that colours the lines.
        kept: Which rows are kept.
        chosen: Position of the chosen row, or None.
    """
    lines = _Lines(read, target)
    most = max(int(kept.sum()), int((~kept).sum()))
    notes = f"<p>At most {MOST_LINES} selected and {MOST_LINES} faded lines are drawn.</p>" if most > MOST_LINES else ""
    aimed = lines.axes[lines.target].title
    facts = f"{len(read.rows)} configurations: {read.outcome}; {int(kept.sum())} selected; dark is low in {aimed}"
    parts = [*lines.uprights(), lines.faint(_some(~kept)), *lines.bright(_some(kept))]
    parts += [] if chosen is None else lines.chosen(chosen)
    parts += lines.labels()
    width, height = _LEFT + _PITCH * (len(lines.axes) - 1) + _RIGHT, _TOP + _HIGH + _LANE + 8
    summary = f"Parallel coordinates of {facts}"
    return page("Sweep", facts, body=figure(svg(width, height, summary=summary, parts=parts), notes))


def row_at(read: SweepTable, target: str, *, kept: np.ndarray, x: float, y: float) -> int | None:
    """The position of the kept row whose line passes nearest to a place of the drawing; None if none is near.

    Args:
        read: The table.
        target: The measure that colours the lines.
        kept: Which rows are kept.
        x: Across, as drawn.
        y: Down.
    """
    lines, rows = _Lines(read, target), np.flatnonzero(_some(kept))
    if not len(rows) or not lines.x(0) - REACH <= x <= lines.x(len(lines.axes) - 1) + REACH:
        return None
    away = [abs(lines.height_at(row, x) - y) for row in rows.tolist()]
    nearest = int(np.argmin(away))
    return int(rows[nearest]) if away[nearest] <= REACH else None


def nothing(found: pd.DataFrame, read: SweepTable | None, *, error: str, objective: str | None) -> str:
    """The page shown instead of the drawing: why there is nothing to draw.

    Args:
        found: The table.
        read: The table as figures read it; None if no row has a measure.
        error: The error of a sweep that failed as a whole.
        objective: The measure that was to colour the lines.
    """
    if error:
        return refusal("Sweep", error)
    if read is not None:
        return refusal("Sweep", f"objective={objective!r} is not a measure: choose one of {', '.join(read.measures)}.")
    rows = len(found)
    return page(
        "Sweep", f"{rows} rows, none with a measure" if rows else "no rows yet: pick values and press Run", body=""
    )


def details(row: pd.Series, parameters: Sequence[str], *, measures: Sequence[str]) -> str:
    """Everything about one row: its configuration and outcome."""
    lines = [[word(name), word(short(row[name]))] for name in parameters]
    for name in measures:
        if name in row.index and not missing(row[name]):
            title, value = _measured(name, row[name])
            lines.append([word(title), word(value)])
    if str(row.get("status", "done")) != "done":
        lines.append([word(row["status"]), word(row.get("error") or "")])
    return f'<div class="tk-view"><style>{STYLE}</style>{table([], lines)}</div>'


def _measured(name: str, value: Any) -> tuple[str, str]:
    """The name of a measure, and its value with its unit."""
    if isinstance(value, bool | np.bool_ | str):
        return name, str(value)
    unit = quantity(name, [value])
    title, _, rest = unit.title.partition(" (")
    return title, f"{short(float(value) * unit.scale)} {rest[:-1]}".rstrip()


class _Lines:
    """Rows as lines across vertical axes."""

    def __init__(self, read: SweepTable, target: str) -> None:
        values = read.rows[target].astype(float).where(read.done)
        order = values.rank(method="first", pct=True).fillna(0.0).to_numpy()
        names = [name for name in read.measures if numeric(read.rows[name]) and varies(read.rows, name)]
        names = [target, *(name for name in names if name != target)]
        names = sorted(names[: max(1, MOST_AXES - len(read.parameters))], key=read.measures.index)
        axes = [Axis.ladder(name, read.rows[name]).spread(order) for name in read.parameters]
        self.axes = [*axes, *(Axis.scale(name, read.rows[name].where(read.done)) for name in names)]
        self.target = len(axes) + names.index(target)
        self.read, self.first, self.done = read, len(axes), read.done
        places = np.stack([axis.places for axis in self.axes], axis=1)
        y = _TOP + (1 - places) * _HIGH
        y[~self.done, len(axes) :] = np.nan
        self.known = ~np.isnan(y)
        self.y = np.nan_to_num(y).round().astype(int)
        level = np.nan_to_num(self.axes[self.target].places * LEVELS, nan=0.0).astype(int)
        self.level = np.minimum(level, LEVELS - 1)

    def uprights(self) -> Iterator[str]:
        """The axes and their titles."""
        yield path("".join(f"M{self.x(i)} {_TOP}v{_HIGH}" for i in range(len(self.axes))), class_="tk-axis")
        titles = (text(self.x(i), 16, brief(axis.title), class_="tk-label tk-name") for i, axis in enumerate(self.axes))
        yield group(titles, text_anchor="middle")

    def labels(self) -> Iterator[str]:
        """The tick labels, over the lines, with a halo that sets them off."""
        ticks = [
            text(self.x(i) - 5, round(_TOP + (1 - place) * _HIGH + 4), said[:LETTERS], class_="tk-label")
            for i, axis in enumerate(self.axes)
            for place, said in axis.ticks
        ]
        halo: dict[str, str | float] = {
            "style": "paint-order:stroke;stroke:var(--tk-paper)",
            "stroke_width": 4,
            "font_size": 10,
        }
        yield group(ticks, text_anchor="end", **halo)
        if not self.done.all():
            label = text(self.x(self.first) + 8, _TOP + _HIGH + _LANE, ", ".join(self.read.failures), class_="tk-label")
            yield group([label], **halo)

    def faint(self, rows: np.ndarray) -> str:
        """All lines of some rows in one faint path."""
        data = "".join(self._data(row) for row in np.flatnonzero(rows).tolist())
        return path(data, class_="tk-axis", stroke_width=0.8, stroke_opacity=0.3) if data else ""

    def bright(self, rows: np.ndarray) -> Iterator[str]:
        """Lines in the target's colours, failed rows dotted and grey; if there are few, each is titled with its row."""
        few = int(rows.sum()) <= MOST_TITLES
        look: dict[str, str | float] = {"fill": "none", "stroke_width": 1.6 if few else 1, "stroke_opacity": 0.85}
        groups: list[tuple[np.ndarray, dict[str, str | float]]]
        groups = [(rows & self.done & (self.level == level), {"stroke": COLOURS[level]}) for level in range(LEVELS)]
        groups.append((rows & ~self.done, {"class_": "tk-axis", "stroke_dasharray": "2 3"}))
        for chosen, own in groups:
            places = np.flatnonzero(chosen).tolist()
            if places:
                each = [path(self._data(row), self._title(row) if few else "") for row in places]
                yield group(each if few else [path("".join(map(self._data, places)))], **look, **own)

    def chosen(self, row: int) -> Iterator[str]:
        """One line over all others, in the page's text colour, with marks."""
        marks = "".join(f"M{self.x(i)} {self.y[row, i]}h0" for i in np.flatnonzero(self.known[row]).tolist())
        data = self._data(row)
        yield path(data, class_="tk-halo", fill="none")
        yield path(data, self._title(row), class_="tk-box")
        yield path(marks, class_="tk-axis tk-dots", style="stroke:var(--tk-ink)")

    def x(self, axis: int) -> int:
        """The position of an axis."""
        return _LEFT + axis * _PITCH

    def height_at(self, row: int, x: float) -> float:
        """Where a row's line is above or below a position; infinite beyond the axes on which the row has a value."""
        known = np.flatnonzero(self.known[row])
        at = np.array([self.x(i) for i in known.tolist()])
        reaches = len(known) > 0 and at[0] - REACH <= x <= at[-1] + REACH
        return float(np.interp(x, at, self.y[row, known])) if reaches else np.inf

    def _data(self, row: int) -> str:
        """A line across the axes on which the row has a value; a failed row's line ends in a lane below."""
        places = np.flatnonzero(self.known[row]).tolist()
        data = "".join(f"{'M' if not n else 'L'}{self.x(i)} {self.y[row, i]}" for n, i in enumerate(places))
        if not self.done[row]:
            end = self.x(self.first) - 8, _TOP + _HIGH + _LANE - 4
            data += f"L{end[0]} {end[1]}" if data else ""
        return data

    def _title(self, row: int) -> str:
        return f"row {self.read.rows.index[row]}: {self.read.configuration(row)}"


def _some(rows: np.ndarray) -> np.ndarray:
    """The rows to draw: evenly chosen if there are too many."""
    places = np.flatnonzero(rows)
    if len(places) <= MOST_LINES:
        return rows
    chosen = np.zeros(len(rows), bool)
    chosen[places[np.linspace(0, len(places) - 1, MOST_LINES).round().astype(int)]] = True
    return chosen
