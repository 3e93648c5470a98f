"""Sweeps: a function over a grid, a list or a search, kept point by point."""

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
from toolkit.sweeps.outcome import measures_of, said, status_of
from toolkit.sweeps.points import Point
from toolkit.sweeps.search import Search
from toolkit.sweeps.source import call, program, qualified
from toolkit.sweeps.space import Listed, Space
from toolkit.sweeps.store import Row, Store
from toolkit.sweeps.watch import Watch

OnError = Literal["keep", "raise"]
MAX_STARTS = 2
"""How often a point may end the whole process before it is left out."""


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
    """Call a function at every point of a space, and keep what each call gave, or how it failed.

    With a ``store``, the same call resumes after a kill, an interrupt or a restart: a point that ended is not run
    again, one that was in flight is. A point in flight when its process ended, ``MAX_STARTS`` times, is taken to be
    the reason, and kept as failed. A larger grid in the same store runs the points that are new.

    The function may use one cluster for all points: open it around the sweep.

    Args:
        function: called as ``function(**point)``. It returns a number, a mapping of names to numbers or words, a
            :class:`Run`, a :class:`Comparison`, a :class:`TilePlan`, or several of these in a tuple.
        space: values by parameter, for a grid of all their combinations; a list of points, each a mapping; or a
            :func:`search`. Values that no table can show, as models, get names: ``{"vae": {"small": a, "large": b}}``.
        store: a file that keeps the points, made where there is none, with a lock beside it; None: nothing is kept.
        progress: show a bar with the time that is left, and a line of text at the end.
        retry: run failed points of the store again.
        on_error: ``"keep"`` a failed point as a row, or ``"raise"`` its error, with the row in the store all the same.
        stop: asked before each point that must be run, with the table so far; where it says True, the sweep ends there.

    Returns:
        One row per point that ended: its parameters, its measures, ``status`` (``"done"``, ``"failed"`` or ``"out of
        memory"``), ``error`` in a line, ``took`` (seconds), ``when``, ``starts``, ``version`` (of the function's
        source), ``record`` (of a run, as JSON) and ``code``, see :func:`reproduce`.

    Raises:
        PlanError: before anything runs, where the space will not do.
        ToolkitError: before anything runs, where the store is another sweep's, or in use.
        RunCancelled: where the function's run was cancelled. As after an interrupt, the point counts as not started.

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
    if on_error not in get_args(OnError):
        raise PlanError(f"on_error={on_error!r}: must be one of {', '.join(get_args(OnError))}.")
    if retry and isinstance(space, Search):
        raise PlanError("retry=True with a search: a search does not come back to a point; raise its points= instead.")
    source: Space = space if isinstance(space, Search) else Listed(space)
    path = None if store is None else Path(store)
    version = _version(function)
    with Store(path, qualified(function), source.names) as kept, Watch(source.total, progress) as watch:
        for point, tell in source.rounds(kept):
            row = _known(point, kept, retry)
            found = row is not None
            if row is None:
                if stop is not None and stop(_table(source.rows(kept), source, qualified(function), path)):
                    watch.stop()
                    break
                watch.begin()
                row = _run(function, point, kept, version, on_error)
            watch.update(row, found)
            tell(row)
        rows = source.rows(kept)
    _warn_of_other_versions(rows, version)
    return _table(rows, source, qualified(function), path)


def reproduce(table: pd.DataFrame, row: Any) -> str:
    """The program that runs one point of a sweep's table again.

    Args:
        table: what :func:`sweep` gave, or some of its rows.
        row: the row's label in the table's index.

    Raises:
        ToolkitError: where there is no such row, or no program says how its values were made.

    Example:
        >>> table = sweep(round, [{"number": 2.567, "ndigits": 1}], progress=False)
        >>> reproduce(table, 0)
        'round(number=2.567, ndigits=1)'
    """
    if "code" not in table.columns:
        raise ToolkitError("the table has no column 'code': give one that tk.sweep made.")
    if row not in table.index:
        raise ToolkitError(f"row={row!r}: is not in the table's index, {list(table.index[:5])} ...")
    code = table.loc[row, "code"]
    if not isinstance(code, str):
        raise ToolkitError(
            f"row={row!r}: its function or a value of it does not say how it is made. Use a function of a module or "
            "notebook, and numbers, words, data classes and plans for values."
        )
    return code


def _known(point: Point, kept: Store, retry: bool) -> Row | None:
    """What became of a point that need not be run."""
    row = kept.find(point)
    if row is None or (retry and row.status != "done"):
        return None
    if row.status != "running":
        return row
    if row.starts < MAX_STARTS:
        return None
    error = f"ended the process {row.starts} times, or was running when something else did; retry=True runs it again"
    return kept.finish(point, "failed", None, error=error)


def _run(function: Callable[..., Any], point: Point, kept: Store, version: str | None, on_error: OnError) -> Row:
    kept.start(point, program(call(function, point.given)), version)
    start = time.perf_counter()
    try:
        measures, record = measures_of(function(**point.given), point.values)
    except RunCancelled:
        kept.forget(point)
        raise
    except Exception as error:
        took = time.perf_counter() - start
        row = kept.finish(point, status_of(error), took, error=said(error))
        if on_error == "raise":
            raise
        return row
    except BaseException:
        kept.forget(point)
        raise
    return kept.finish(point, "done", time.perf_counter() - start, measures, record=record)


def _table(rows: Sequence[Row], source: Space, function: str, path: Path | None) -> pd.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row.measures))
    told = ("status", "error", "took", "when", "starts", "version", "record", "code")
    columns = {name: [row.shown[name] for row in rows] for name in source.names}
    columns |= {name: [row.measures.get(name) for row in rows] for name in names}
    columns |= {name: [getattr(row, name) for row in rows] for name in told}
    table = pd.DataFrame(columns)
    about = {"function": function, "parameters": list(source.names), "measures": names, "objectives": source.wanted}
    table.attrs["sweep"] = about | {"store": None if path is None else str(path)}
    return table


def _version(function: Callable[..., Any]) -> str | None:
    """Eight letters that change with the function's source; None where there is none to read."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _warn_of_other_versions(rows: Sequence[Row], version: str | None) -> None:
    other = sum(row.version != version for row in rows)
    if other:
        warnings.warn(
            f"{other} of {len(rows)} points come from another version of the function (column 'version'): give "
            "another store to run all of them by this one.",
            stacklevel=3,
        )
