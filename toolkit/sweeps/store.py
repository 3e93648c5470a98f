"""The store of a sweep: all points and their outcomes, in one SQLite file that survives a killed process."""

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
"""Marks the file as a sweep's, so that no other database is overwritten."""
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
    """One point and its outcome.

    Attributes:
        shown: The point's parameters as the table shows them.
        status: The outcome; ``"running"`` if the point was started and has not ended, in this process or an earlier
            one.
        measures: Measures that the function returned.
        error: The error of a failed point, on one line.
        took: Seconds from start to end.
        when: Time of the last start, UTC, ISO 8601.
        starts: Number of times the point was started.
        version: Version of the function's source.
        record: The run's record as JSON.
        code: The call as a program, if it can be written as one.
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

    Only one process at a time may use a store. The lock is a file beside the store, which the operating system releases
    however the process ends; other processes may read the store meanwhile.

    Args:
        path: The file, created if it does not exist; None keeps the points in memory.
        function: The function's module and name.
        names: Names of the parameters.

    Raises:
        ToolkitError: If the file is not a store, belongs to another sweep, or is in use.
    """

    def __init__(self, path: Path | None, function: str, *, names: Sequence[str]) -> None:
        self.path = path
        with ExitStack() as opened:
            if path is not None:
                opened.enter_context(_locked(path))
            self._base = sqlite3.connect(path or ":memory:", isolation_level=None)
            opened.callback(self._base.close)
            self._prepare({"function": function, "parameters": json.dumps(sorted(names))})
            self._opened = opened.pop_all()

    def start(self, point: Point, code: str | None, *, version: str | None) -> None:
        """Record that a point is being run, so that the store knows if it takes the process down with it."""
        self._base.execute(
            'INSERT INTO points (key, parameters, code, status, starts, "when", version) '
            "VALUES (?, ?, ?, 'running', 1, ?, ?) ON CONFLICT (key) DO UPDATE SET status = 'running', "
            'starts = starts + 1, "when" = excluded."when", version = excluded.version, code = excluded.code, '
            "measures = '{}', error = NULL, took = NULL, record = NULL",
            (point.key, json.dumps(point.shown), code, datetime.now(UTC).isoformat(timespec="seconds"), version),
        )

    def end(
        self,
        point: Point,
        status: Status,
        *,
        took: float | None,
        measures: Mapping[str, Measure] | None = None,
        error: str | None = None,
        record: str | None = None,
    ) -> Row:
        """Keep the outcome of a point."""
        self._base.execute(
            "UPDATE points SET status = ?, took = ?, measures = ?, error = ?, record = ? WHERE key = ?",
            (status, took, json.dumps(measures or {}), error, record, point.key),
        )
        row = self.find(point)
        assert row is not None
        return row

    def forget(self, point: Point) -> None:
        """Undo the last start of a point that ended through no fault of its own."""
        self._base.execute("UPDATE points SET starts = starts - 1 WHERE key = ?", (point.key,))
        self._base.execute("DELETE FROM points WHERE key = ? AND starts = 0", (point.key,))

    def find(self, point: Point) -> Row | None:
        """The row of a point, if the store has one."""
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
        """Create the tables in a new file, or check that an existing file belongs to this sweep."""
        try:
            (mark,) = self._base.execute("PRAGMA application_id").fetchone()
            (tables,) = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (found,) = self._base.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError as error:
            raise ToolkitError(
                f"store={str(self.path)!r} is not the store of a sweep ({error}): give another file."
            ) from error
        if mark == 0 and tables == 0:
            self._make(about)
            return
        if mark != APPLICATION or found != FORMAT:
            raise ToolkitError(f"store={str(self.path)!r} is a database but not a sweep's store: give another file.")
        kept = dict(self._base.execute("SELECT name, value FROM about"))
        for name, value in about.items():
            if kept.get(name) != value:
                raise ToolkitError(
                    f"store={str(self.path)!r} belongs to another sweep, whose {name} is {kept.get(name)}, not "
                    f"{value}: use a separate store for each sweep."
                )

    def _make(self, about: Mapping[str, str]) -> None:
        # With a write-ahead log, readers never wait for the sweep, nor the sweep for readers.
        self._base.execute("PRAGMA journal_mode = WAL")
        rows = "".join(f"INSERT INTO about VALUES ({_quoted(name)}, {_quoted(text)});" for name, text in about.items())
        marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};"
        self._base.executescript(f"BEGIN;{_TABLES}{rows}{marks}COMMIT;")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    if not path.parent.is_dir():
        raise ToolkitError(f"store={str(path)!r}: the folder {str(path.parent)!r} does not exist; create it first.")
    with Path(f"{path}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ToolkitError(
                f"store={str(path)!r} is in use by another sweep: wait for it to end, or give another store."
            ) from error
        yield
