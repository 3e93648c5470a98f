"""Checks of what a figure is drawn from, with errors that say what to pass instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from toolkit.analysis.compare import Comparison
from toolkit.errors import ToolkitError
from toolkit.geometry.checks import has_items
from toolkit.runs.run import Run


def comparisons_of(given: Any) -> tuple[Comparison, ...]:
    """One comparison or several, as a tuple.

    Raises:
        ToolkitError: If anything else is given, such as a run, which does not say what to compare it with.

    Example:
        >>> comparisons_of(3)
        Traceback (most recent call last):
            ...
        toolkit.errors.ToolkitError: this figure draws comparisons, not an int: pass tk.compare(run, reference).
    """
    every = tuple(given) if has_items(given) else (given,)
    for one in every:
        if not isinstance(one, Comparison):
            raise ToolkitError(f"this figure draws comparisons, not {kind_of(one)}: pass tk.compare(run, reference).")
    return every


def check_run(given: Any, *, trace: bool = False, columns: Iterable[str] = ("rank", "kind", "start", "end")) -> None:
    """Refuse anything that is not a run; with ``trace=True``, a trace is accepted too.

    Raises:
        ToolkitError: If anything else is given, such as a plan, which has not run yet.

    Example:
        >>> check_run("run.json")
        Traceback (most recent call last):
            ...
        toolkit.errors.ToolkitError: this figure draws a run, not a str: pass the run that cluster.decode returns.
    """
    if not isinstance(given, Run) and not (trace and isinstance(given, pd.DataFrame)):
        raise ToolkitError(f"this figure draws a run, not {kind_of(given)}: pass the run that cluster.decode returns.")
    if isinstance(given, pd.DataFrame) and (missing := [name for name in columns if name not in given.columns]):
        raise ToolkitError(f"the trace has no column {missing[0]!r}: pass run.trace, or a run.")


def check_frame(given: Any) -> None:
    """Refuse anything that is not a table of a sweep.

    Raises:
        ToolkitError: If anything else is given.

    Example:
        >>> check_frame(3)
        Traceback (most recent call last):
            ...
        toolkit.errors.ToolkitError: this figure draws a table, not an int: pass what tk.sweep returns.
    """
    if not isinstance(given, pd.DataFrame):
        raise ToolkitError(f"this figure draws a table, not {kind_of(given)}: pass what tk.sweep returns.")


def kind_of(given: Any) -> str:
    """The type of a value with its article.

    Example:
        >>> kind_of(3), kind_of("run")
        ('an int', 'a str')
    """
    name = type(given).__name__
    return f"a{'n' * (name[0].lower() in 'aeio')} {name}"
