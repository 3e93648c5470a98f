"""The store of a sweep: every point and what became of it, in one SQLite file that a kill leaves whole."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from toolkit.errors import ToolkitError
from toolkit.sweeps.outcome import Measure, Status
from toolkit.sweeps.points import Point, Shown

APPLICATION = 0x746B7377
"""Marks the file as a sweep's, so that no other database is written to."""
FORMAT = 1
_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE points (
    place INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, parameters TEXT NOT NULL, code TEXT,
    status TEXT NOT NULL, starts INTEGER NOT NULL, measures TEXT NOT NULL DEFAULT '{}', error TEXT, took REAL,
    "when" TEXT NOT NULL, version TEXT, record TEXT
);
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One point and what became of it.

    Attributes:
        shown: its parameters as the table shows them.
        status: ``"running"`` where it was started and has not ended, in this process or in one that is gone.
        measures: what the function gave.
        error: of a failed point, in one line.
        took: seconds from its start to its end.
        when: of its last start, UTC, ISO 8601.
        starts: how often it was started.
        version: tells the function as it was from the function as it is.
        record: of the run, as JSON.
        code: the call as a program, where there is one.
    """

    shown: Mapping[str, Shown]
    status: Status | Literal["running"]
    measures: Mapping[str, Measure]
    error: str | None
    took: float | None
    when: str
    starts: int
    version: str | None
    record: str | None
    code: str | None


class Store:
    """The points of one sweep, on disk or in memory. Each change is a transaction.

    One process at a time: a lock that the system takes back when the process ends, however it ends. It lies in a file
    beside the store, so that others may read the store meanwhile.

    Args:
        path: the file; it is made where there is none. None: in memory.
        function: the function's module and name.
        names: of the parameters.

    Raises:
        ToolkitError: where the file is something else, another sweep's, or in use.
    """

    def __init__(self, path: Path | None, function: str, names: Sequence[str]) -> None:
        self.path = path
        with ExitStack() as opened:
            if path is not None:
                opened.enter_context(_locked(path))
            self._base = sqlite3.connect(path or ":memory:", isolation_level=None)
            opened.callback(self._base.close)
            self._prepare({"function": function, "parameters": json.dumps(sorted(names))})
            self._opened = opened.pop_all()

    def start(self, point: Point, code: str | None, version: str | None) -> None:
        """Note that a point is being run: should it take the process with it, that is known."""
        self._base.execute(
            'INSERT INTO points (key, parameters, code, status, starts, "when", version) '
            "VALUES (?, ?, ?, 'running', 1, ?, ?) ON CONFLICT (key) DO UPDATE SET status = 'running', "
            'starts = starts + 1, "when" = excluded."when", version = excluded.version, code = excluded.code, '
            "measures = '{}', error = NULL, took = NULL, record = NULL",
            (point.key, json.dumps(point.shown), code, datetime.now(UTC).isoformat(timespec="seconds"), version),
        )

    def finish(
        self,
        point: Point,
        status: Status,
        took: float | None,
        measures: Mapping[str, Measure] | None = None,
        *,
        error: str | None = None,
        record: str | None = None,
    ) -> Row:
        """Keep what became of a point."""
        self._base.execute(
            "UPDATE points SET status = ?, took = ?, measures = ?, error = ?, record = ? WHERE key = ?",
            (status, took, json.dumps(measures or {}), error, record, point.key),
        )
        row = self.find(point)
        assert row is not None
        return row

    def forget(self, point: Point) -> None:
        """Take back the last start of a point, through no fault of which it ended."""
        self._base.execute("UPDATE points SET starts = starts - 1 WHERE key = ?", (point.key,))
        self._base.execute("DELETE FROM points WHERE key = ? AND starts = 0", (point.key,))

    def find(self, point: Point) -> Row | None:
        """What is known of a point."""
        return next(self._rows("WHERE key = ?", (point.key,)), None)

    def rows(self) -> list[Row]:
        """All points, in the order in which they were first started."""
        return list(self._rows("ORDER BY place"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._opened.close()

    def _rows(self, which: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        columns = 'parameters, status, measures, error, took, "when", starts, version, record, code'
        for shown, status, measures, *rest in self._base.execute(f"SELECT {columns} FROM points {which}", values):
            yield Row(json.loads(shown), status, json.loads(measures), *rest)

    def _prepare(self, about: Mapping[str, str]) -> None:
        """Make the tables in a new file, or make sure that an old one is this sweep's."""
        try:
            (mark,) = self._base.execute("PRAGMA application_id").fetchone()
            (tables,) = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (found,) = self._base.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError as error:
            raise ToolkitError(f"store={str(self.path)!r}: is no store of a sweep ({error}); give another.") from error
        if mark == 0 and tables == 0:
            self._make(about)
            return
        if mark != APPLICATION or found != FORMAT:
            raise ToolkitError(f"store={str(self.path)!r}: is a database of something else; give another file.")
        kept = dict(self._base.execute("SELECT name, value FROM about"))
        for name, value in about.items():
            if kept.get(name) != value:
                raise ToolkitError(
                    f"store={str(self.path)!r}: holds a sweep whose {name} is {kept.get(name)}, not {value}: give "
                    "each sweep a store of its own."
                )

    def _make(self, about: Mapping[str, str]) -> None:
        # Written ahead, so that a reader never waits for the sweep nor the sweep for a reader.
        self._base.execute("PRAGMA journal_mode = WAL")
        rows = "".join(f"INSERT INTO about VALUES ({_quoted(name)}, {_quoted(text)});" for name, text in about.items())
        marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};"
        self._base.executescript(f"BEGIN;{_TABLES}{rows}{marks}COMMIT;")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    if not path.parent.is_dir():
        raise ToolkitError(f"store={str(path)!r}: there is no folder {str(path.parent)!r}; make it first.")
    with Path(f"{path}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ToolkitError(
                f"store={str(path)!r}: another sweep is at work on it; wait for it, or give another store."
            ) from error
        yield
