"""Sweeps: a function called over a grid, a list or a search, with each point kept as it ends."""

from __future__ import annotations

import hashlib
import inspect
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from toolkit.errors import PlanError, RunCancelled, ToolkitError
from toolkit.geometry.checks import check_choice, shown
from toolkit.sweeps.outcome import measures_of, said, status_of
from toolkit.sweeps.points import Point
from toolkit.sweeps.search import Search
from toolkit.sweeps.source import call, program, qualified
from toolkit.sweeps.space import Listed, Space
from toolkit.sweeps.store import Row, Store
from toolkit.sweeps.watch import Watch

OnError = Literal["keep", "raise"]
MAX_STARTS = 2
"""How many times a point may take down the process before it is given up."""


def sweep(
    function: Callable[..., Any],
    space: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Search,
    *,
    store: str | Path | None = None,
    progress: bool = True,
    retry: bool = False,
    on_error: OnError = "keep",
    stop: Callable[[pd.DataFrame], bool] | None = None,
) -> pd.DataFrame:
    """Call a function at every point of a space, and keep each result or failure.

    With a ``store``, the same call resumes after a kill, an interrupt or a restart: points that ended are not run
    again, and a point that was in flight is. A point that was in flight when its process ended, ``MAX_STARTS`` times,
    is assumed to be the cause and kept as failed. A larger grid in the same store runs only the new points.

    The function may use one cluster for all points: open the cluster around the sweep.

    Args:
        function: The function, called as ``function(**point)``. It returns a number, a mapping of names to numbers or
            words, a :class:`Run`, a :class:`Comparison`, a :class:`TilePlan`, or several of these in a tuple.
        space: Values by parameter, for a grid of all combinations; a list of points, each a mapping; or a
            :func:`search`. Values that a table cannot show, such as models, need names: ``{"vae": {"small": a, "large":
            b}}``.
        store: File that keeps the points, created if it does not exist, with a lock file beside it; None keeps nothing.
        progress: Whether to show a progress bar with the remaining time, and a line of text at the end.
        retry: Whether to run failed points of the store again.
        on_error: ``"keep"`` to keep failed points as rows, ``"raise"`` to raise their errors (the row is stored
            anyway).
        stop: Function called before each new point with the table so far; the sweep ends when it returns True.

    Returns:
        One row per point that has ended, with its parameters, its measures, ``status`` (``"done"``, ``"failed"`` or
        ``"out of memory"``), ``error`` on one line, ``took`` (seconds), ``when``, ``starts``, ``version`` (of the
        function's source), ``record`` (of a run, its public part, as JSON) and ``code``, see :func:`reproduce`.

    Raises:
        PlanError: If the space is invalid; raised before anything runs.
        ToolkitError: If the store cannot be written, is damaged, belongs to another sweep or is in use; raised before
            anything runs.
        RunCancelled: If the function's run was cancelled. As after an interrupt, the point counts as not started.

    Example:
        >>> def area(tile, overlap):
        ...     if overlap >= tile:
        ...         raise ValueError(f"overlap={overlap}: must be below {tile}.")
        ...     return {"share": (tile - overlap) ** 2 / tile**2}
        >>> table = sweep(area, {"tile": [4, 8], "overlap": [2, 4]})
        Sweep of 4 points: 3 done, 1 failed
        >>> table[["tile", "overlap", "share", "status"]]
           tile  overlap   share  status
        0     4        2  0.2500    done
        1     4        4     NaN  failed
        2     8        2  0.5625    done
        3     8        4  0.2500    done
    """
    check_choice("on_error", on_error, choices=get_args(OnError))
    if not callable(function):
        raise PlanError(f"function={shown(function)}: must be a function, which is called at every point.")
    if stop is not None and not callable(stop):
        raise PlanError(f"stop={shown(stop)}: must be a function of the table so far, or None.")
    if store is not None and not isinstance(store, str | Path):
        raise PlanError(f"store={shown(store)}: must be the path of a file, or None to keep nothing.")
    if retry and isinstance(space, Search):
        raise PlanError("retry=True: a search never returns to a point; increase its points= instead.")
    source: Space = space if isinstance(space, Search) else Listed(space)
    path = None if store is None else Path(store)
    version = _version(function)
    with Store(path, qualified(function), names=source.names) as kept, Watch(source.total, progress) as watch:
        for point, tell in source.rounds(kept):
            row = _known(point, kept, retry=retry)
            found = row is not None
            if row is None:
                if stop is not None and stop(
                    _table(source.rows(kept), source, function=qualified(function), path=path)
                ):
                    watch.stop()
                    break
                watch.begin()
                row = _run(function, point, kept=kept, version=version, on_error=on_error)
            watch.update(row, found)
            tell(row)
        rows = source.rows(kept)
    _warn_of_other_versions(rows, version)
    return _table(rows, source, function=qualified(function), path=path)


def reproduce(table: pd.DataFrame, row: Any) -> str:
    """The program that runs one point of a sweep's table again.

    Args:
        table: The result of :func:`sweep`, or some of its rows.
        row: Label of the row in the table's index.

    Raises:
        ToolkitError: If the row does not exist, or its values cannot be written as a program.

    Example:
        >>> table = sweep(round, [{"number": 2.567, "ndigits": 1}], progress=False)
        >>> reproduce(table, 0)
        'round(number=2.567, ndigits=1)'
    """
    if not isinstance(table, pd.DataFrame):
        raise ToolkitError(f"table={shown(table)}: give a table that tk.sweep returned.")
    if "code" not in table.columns:
        raise ToolkitError("the table has no column 'code': give a table that tk.sweep returned.")
    if type(row).__hash__ is None or row not in table.index:
        raise ToolkitError(
            f"row={shown(row)} is not in the table's index, {list(table.index[:5])} ...: choose one of these."
        )
    code = table.loc[row, "code"]
    if not isinstance(code, str):
        raise ToolkitError(
            f"row={row!r}: the function or one of its values cannot be written as code. Use a function defined in a "
            "module or notebook, and numbers, strings, dataclasses or plans as values."
        )
    return code


def _known(point: Point, kept: Store, *, retry: bool) -> Row | None:
    """The row of a point that does not need to run again."""
    row = kept.find(point)
    if row is None or (retry and row.status != "done"):
        return None
    if row.status != "running":
        return row
    if row.starts < MAX_STARTS:
        return None
    error = f"was running {row.starts} times when the process ended, and may be the cause; retry=True runs it again"
    return kept.end(point, "failed", took=None, error=error)


def _run(function: Callable[..., Any], point: Point, *, kept: Store, version: str | None, on_error: OnError) -> Row:
    kept.start(point, program(call(function, point.given)), version=version)
    start = time.perf_counter()
    try:
        measures, record = measures_of(function(**point.given), point.values)
    except RunCancelled:
        kept.forget(point)
        raise
    except Exception as error:
        took = time.perf_counter() - start
        row = kept.end(point, status_of(error), took=took, error=said(error))
        if on_error == "raise":
            raise
        return row
    except BaseException:
        kept.forget(point)
        raise
    return kept.end(point, "done", took=time.perf_counter() - start, measures=measures, record=record)


def _table(rows: Sequence[Row], source: Space, *, function: str, path: Path | None) -> pd.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row.measures))
    details = ("status", "error", "took", "when", "starts", "version", "record", "code")
    columns = {name: [row.shown[name] for row in rows] for name in source.names}
    columns |= {name: [row.measures.get(name) for row in rows] for name in names}
    columns |= {name: [getattr(row, name) for row in rows] for name in details}
    table = pd.DataFrame(columns)
    about = {"function": function, "parameters": list(source.names), "measures": names, "objectives": source.wanted}
    table.attrs["sweep"] = about | {"store": None if path is None else str(path)}
    return table


def _version(function: Callable[..., Any]) -> str | None:
    """Eight characters that change with the function's source; None if the source cannot be read."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _warn_of_other_versions(rows: Sequence[Row], version: str | None) -> None:
    other = sum(row.version != version for row in rows)
    if other:
        warnings.warn(
            f"{other} of {len(rows)} points were computed by another version of the function (column 'version'): use a "
            "new store to run all of them with this version.",
            stacklevel=3,
        )
