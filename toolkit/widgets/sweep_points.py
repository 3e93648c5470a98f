"""The rows of a sweep as a list to choose from, and everything about the chosen one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from ipywidgets import HTML, Dropdown, Layout

from toolkit.plot.sweep_figure import rising
from toolkit.plot.sweep_table import SweepTable, missing, numeric, said, short
from toolkit.widgets.markup import code
from toolkit.widgets.sweep_controls import distinct
from toolkit.widgets.sweep_view import details

MOST_LISTED = 300


class Points:
    """A list of rows, and the details of one of them.

    Attributes:
        control: The list.
        about: The chosen row's configuration, measures, and the code that runs it again.
    """

    def __init__(self) -> None:
        self.about = HTML()
        # Not a list box: when one has the focus, JupyterLab takes the arrow keys for itself.
        self.control = Dropdown(
            options=[],
            description="point",
            tooltip="The row to look at; Space opens the list.",
            tabbable=True,
            style={"description_width": "6.5em"},
            layout=Layout(width="36em"),
        )

    def show(
        self, found: pd.DataFrame, kept: np.ndarray, *, chosen: Any, parameters: Sequence[str], target: str | None
    ) -> None:
        """List the kept rows, each with its parameters and the target's value, and show the details of one row."""
        labels = list(found.index[kept][:MOST_LISTED])
        if chosen is not None and chosen not in labels:
            labels.append(chosen)
        texts = distinct([_line(label, found.loc[label], parameters=parameters, target=target) for label in labels])
        with self.control.hold_sync():
            self.control.options = list(zip(texts, labels, strict=True))
            self.control.index = None if chosen is None else labels.index(chosen)
        if chosen is None:
            self.about.value = ""
            return
        row = found.loc[chosen]
        program = row.get("code")
        measures = found.attrs.get("sweep", {}).get("measures", ())
        self.about.value = details(row, parameters, measures=measures) + (
            code(program) if isinstance(program, str) else ""
        )


def _line(label: Any, row: pd.Series, *, parameters: Sequence[str], target: str | None) -> str:
    about = f"{label}: " + ", ".join(f"{name} {short(row[name])}" for name in parameters)
    known = target is not None and not missing(row[target])
    return f"{about}; {said(target, row[target]) if target and known else row.get('status', 'no measure')}"


def values_in(column: pd.Series) -> list[Any]:
    """The values of a column: numbers sorted, words in order of appearance."""
    found = list(dict.fromkeys(None if missing(value) else value for value in column))
    return sorted(found, key=float) if numeric(column) and column.notna().all() else found


def readable(found: pd.DataFrame, parameters: Sequence[str]) -> SweepTable | None:
    """The table as figures read it; None if no row has a measure."""
    measures = [name for name in found.attrs.get("sweep", {}).get("measures", ()) if name in found.columns]
    if not any(numeric(found[name]) and found[name].notna().any() for name in measures):
        return None
    return SweepTable.read(found, parameters, measures=measures)


def best(rows: pd.DataFrame, target: str | None, *, read: SweepTable | None) -> Any:
    """The label of the best row; of the first row if none has a measure, None if there are no rows."""
    if rows.empty:
        return None
    if target is None or read is None or rows[target].isna().all():
        return rows.index[0]
    values = rows[target].astype(float)
    return values.idxmax() if rising(read, target) else values.idxmin()
