"""What the figures of a sweep read in its table: the columns, their units, and the words for a row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.plot.theme import byte_unit, time_unit

MAX_HOVER_LETTERS = 150_000
"""Most characters in all hover texts of a figure; above it, hovering shows only the number of the row."""
TIMES = ("seconds", "took")
HIGHER_IS_BETTER = ("psnr", "ssim")


@dataclass(frozen=True)
class SweepTable:
    """The table of a sweep, or any table with one row per configuration.

    Attributes:
        rows: The table.
        parameters: Columns that were chosen.
        measures: Columns that were measured.
        status: Status of each row; ``"done"`` if the table does not say.
    """

    rows: pd.DataFrame
    parameters: tuple[str, ...]
    measures: tuple[str, ...]
    status: pd.Series

    @classmethod
    def read(
        cls, table: pd.DataFrame, parameters: Sequence[str] | None = None, *, measures: Sequence[str] | None = None
    ) -> SweepTable:
        """Use the given columns, else those that the sweep named.

        Raises:
            ToolkitError: If no columns were named, a column is missing, or the table is empty.
        """
        about = table.attrs.get("sweep", {})
        chosen = tuple(about.get("parameters", ()) if parameters is None else parameters)
        measured = tuple(about.get("measures", ()) if measures is None else measures)
        if not chosen or not measured:
            raise ToolkitError(
                "the table does not say which columns are parameters and which are measures: "
                "pass parameters=[...] and measures=[...]."
            )
        for name in (*chosen, *measured):
            check_column(table, name)
        if table.empty:
            raise ToolkitError("the table is empty, so there is nothing to draw: run the sweep first.")
        done = pd.Series("done", index=table.index)
        return cls(table, chosen, measured, table["status"] if "status" in table.columns else done)

    @property
    def done(self) -> np.ndarray:
        """Which rows have measures."""
        return np.asarray(self.status == "done")

    @property
    def failures(self) -> list[str]:
        """The other statuses that occur, in alphabetical order."""
        return sorted(set(self.status[~self.done].astype(str)))

    @property
    def outcome(self) -> str:
        """The number of rows per status, in words."""
        counts = self.status.astype(str).value_counts()
        return ", ".join(f"{counts[name]} {name}" for name in sorted(counts.index))

    def configuration(self, place: int) -> str:
        """The parameters of a row, on one line."""
        return ", ".join(f"{name} {short(self.rows[name].iloc[place])}" for name in self.parameters)

    def hovers(self, places: Iterable[int]) -> list[str]:
        """Hover texts for the given rows; only their numbers if the full texts would be too long together."""
        texts = [self._hover(place) for place in places]
        return texts if sum(map(len, texts)) <= MAX_HOVER_LETTERS else [text.partition("<br>")[0] for text in texts]

    def _hover(self, place: int) -> str:
        row, lines = self.rows.iloc[place], [f"<b>row {self.rows.index[place]}</b>"]
        lines += [f"{name} {short(row[name])}" for name in self.parameters]
        if self.done[place]:
            lines += [said(name, row[name]) for name in self.measures if not missing(row[name])]
        else:
            lines.append(f"<b>{self.status.iloc[place]}</b> {str(row.get('error') or '')[:120]}".rstrip())
        return "<br>".join(lines)


@dataclass(frozen=True, slots=True)
class Quantity:
    """How a column is shown on an axis.

    Attributes:
        title: Name and unit.
        scale: Factor for the numbers.
    """

    title: str
    scale: float


def quantity(name: str, values: Any = ()) -> Quantity:
    """The title of a column and the unit for its numbers.

    Example:
        >>> quantity("peak bytes", [5e8]), quantity("psnr")
        (Quantity(title='peak (MB)', scale=1e-06), Quantity(title='psnr (dB)', scale=1.0))
    """
    numbers = np.asarray(values, float)
    largest = float(np.max(np.abs(numbers[np.isfinite(numbers)]), initial=0.0))
    if name in TIMES or name.endswith(" s"):
        unit = time_unit(largest)
        return Quantity(f"{'time' if name == 'seconds' else name.removesuffix(' s')} ({unit.name})", unit.scale)
    if name.endswith("bytes"):
        unit = byte_unit(largest)
        return Quantity(f"{name.removesuffix('bytes').rstrip(' _') or 'size'} ({unit.name})", unit.scale)
    return Quantity("psnr (dB)" if name == "psnr" else name, 1.0)


def numeric(column: pd.Series) -> bool:
    """Whether a column contains only numbers, apart from missing values. Booleans count as words."""
    return all(isinstance(v, int | float | np.number) and not isinstance(v, bool | np.bool_) for v in column.dropna())


def numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    """The numbers of a column, NaN where missing.

    Raises:
        ToolkitError: If the column contains anything else, or nothing.
    """
    check_column(table, name)
    if not numeric(table[name]) or table[name].isna().all():
        raise ToolkitError(f"the column {name!r} has no numbers: choose one of {', '.join(_with_numbers(table))}.")
    return table[name].astype(float).to_numpy()


def check_column(table: pd.DataFrame, name: str) -> None:
    """Refuse a column that does not exist."""
    if name not in table.columns:
        raise ToolkitError(f"the table has no column {name!r}; its columns are {', '.join(map(str, table.columns))}.")


def short(value: Any) -> str:
    """A cell as a few characters.

    Example:
        >>> short(12), short(0.123456), short("linear"), short(2000000.0)
        ('12', '0.1235', 'linear', '2e+06')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def brief(value: Any) -> str:
    """A value as the few characters that tell it from the others.

    Example:
        >>> brief("Blend.linear()"), brief("Assignment.balanced"), brief(0.25)
        ('linear', 'balanced', '0.25')
    """
    text = short(value)
    made = re.fullmatch(r"[A-Za-z]\w*\.(\w+)(\(\))?", text)
    text = made[1] if made else text
    return text if len(text) <= 16 else f"{text[:15]}…"


def said(name: str, value: Any) -> str:
    """A measure with its unit.

    Example:
        >>> said("peak bytes", 5e8), said("identical", True)
        ('peak 500 MB', 'identical True')
    """
    if isinstance(value, bool | np.bool_ | str):
        return f"{name} {value}"
    unit = quantity(name, [value])
    title, _, rest = unit.title.partition(" (")
    return f"{title} {short(float(value) * unit.scale)} {rest[:-1]}".rstrip()


def missing(value: Any) -> bool:
    """Whether a cell is empty."""
    return value is None or (isinstance(value, float) and np.isnan(value))


def _with_numbers(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table.columns if numeric(table[name]) and table[name].notna().any()]
