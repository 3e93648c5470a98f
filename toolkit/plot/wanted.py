"""What a figure is drawn from, asked for in words where something else was given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from toolkit.analysis.compare import Comparison
from toolkit.errors import ToolkitError
from toolkit.runs.run import Run


def comparisons_of(given: Any) -> tuple[Comparison, ...]:
    """One comparison or several, as a tuple.

    Raises:
        ToolkitError: for anything else, a run above all, which does not say what it is to be compared with.

    Example:
        >>> comparisons_of(3)
        Traceback (most recent call last):
            ...
        toolkit.errors.ToolkitError: an int was given: this figure is drawn from tk.compare(run, reference).
    """
    every = tuple(given) if isinstance(given, Iterable) else (given,)
    for one in every:
        if not isinstance(one, Comparison):
            raise ToolkitError(f"{_kind(one)} was given: this figure is drawn from tk.compare(run, reference).")
    return every


def check_run(given: Any, *, trace: bool = False) -> None:
    """Refuse what is not a run, nor its trace where that will do.

    Raises:
        ToolkitError: for anything else; a plan has not run yet.

    Example:
        >>> check_run("run.json")
        Traceback (most recent call last):
            ...
        toolkit.errors.ToolkitError: a str was given: this figure is drawn from a run, as cluster.decode returns it.
    """
    if not isinstance(given, Run) and not (trace and isinstance(given, pd.DataFrame)):
        raise ToolkitError(f"{_kind(given)} was given: this figure is drawn from a run, as cluster.decode returns it.")


def _kind(given: Any) -> str:
    name = type(given).__name__
    return f"a{'n' * (name[0].lower() in 'aeio')} {name}"
