"""The store of a sweep: all points and their outcomes, in one SQLite file that survives a killed process."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from toolkit.errors import ToolkitError
from toolkit.runs.written import PRIVATE, check_writable, explained, shown_path
from toolkit.sweeps.outcome import Measure, Status
from toolkit.sweeps.points import Point, Shown

APPLICATION = 0x746B7377
"""Marks the file as a sweep's, so that no other database is overwritten."""
FORMAT = 1
PATIENCE = 5.0
"""Seconds to wait for another program that has locked the file."""
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
    however the process ends; other processes may read the store meanwhile. New files are readable for their owner only.

    Args:
        path: The file, created if it does not exist; None keeps the points in memory.
        function: The function's module and name.
        names: Names of the parameters.

    Raises:
        ToolkitError: If the file cannot be written, is damaged, is not a store, belongs to another sweep, or is in use.
    """

    def __init__(self, path: Path | None, function: str, *, names: Sequence[str]) -> None:
        self.path = path
        with ExitStack() as opened:
            if path is not None:
                opened.enter_context(_locked(path))
            with _told(path):
                self._base = sqlite3.connect(path or ":memory:", PATIENCE, isolation_level=None)
            opened.callback(self._base.close)
            self._prepare({"function": function, "parameters": json.dumps(sorted(names))})
            self._opened = opened.pop_all()

    def start(self, point: Point, code: str | None, *, version: str | None) -> None:
        """Record that a point is being run, so that the store knows if it takes the process down with it."""
        self._change(
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
        self._change(
            "UPDATE points SET status = ?, took = ?, measures = ?, error = ?, record = ? WHERE key = ?",
            (status, took, json.dumps(measures or {}), error, record, point.key),
        )
        row = self.find(point)
        assert row is not None
        return row

    def forget(self, point: Point) -> None:
        """Undo the last start of a point that ended through no fault of its own."""
        self._change("UPDATE points SET starts = starts - 1 WHERE key = ?", (point.key,))
        self._change("DELETE FROM points WHERE key = ? AND starts = 0", (point.key,))

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

    def _change(self, statement: str, values: Sequence[Any]) -> None:
        with _told(self.path):
            self._base.execute(statement, values)

    def _rows(self, which: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        columns = 'parameters, status, measures, error, took, "when", starts, version, record, code'
        with _told(self.path):
            found = self._base.execute(f"SELECT {columns} FROM points {which}", values).fetchall()
            for parameters, status, measures, *rest in found:
                yield Row(json.loads(parameters), status, json.loads(measures), *rest)

    def _prepare(self, about: Mapping[str, str]) -> None:
        """Create the tables in a new file, or check that an existing file is whole and belongs to this sweep."""
        with _told(self.path):
            (mark,) = self._base.execute("PRAGMA application_id").fetchone()
            (tables,) = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (found,) = self._base.execute("PRAGMA user_version").fetchone()
        if mark == 0 and tables == 0:
            with _told(self.path):
                self._make(about)
            return
        if mark != APPLICATION or found != FORMAT:
            raise ToolkitError(
                f"store={shown_path(self.path)} is a database but not a sweep's store: give another file."
            )
        with _told(self.path):
            ((whole,), *_) = self._base.execute("PRAGMA quick_check(1)").fetchall()
            if whole != "ok":
                raise sqlite3.DatabaseError(str(whole))
            kept = dict(self._base.execute("SELECT name, value FROM about"))
        for name, value in about.items():
            if kept.get(name) != value:
                raise ToolkitError(
                    f"store={shown_path(self.path)} belongs to another sweep, whose {name} is {kept.get(name)}, not "
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
def _told(path: Path | None) -> Iterator[None]:
    """Turn what SQLite raises in the ``with`` block into an error that names the store and the remedy."""
    try:
        yield
    except (sqlite3.Error, json.JSONDecodeError) as error:
        name, said = getattr(error, "sqlite_errorname", ""), " ".join(str(error).split())
        where = f"store={shown_path(path)}" if path else "the sweep's table in memory"
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            remedy = "is locked by another program: close it there, and call the sweep again"
        elif name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            remedy = f"could not be written ({said}): free some space, or give a file that you may write to"
        else:
            remedy = f"is not the store of a sweep, or is damaged ({said}): give another file, or restore a copy"
        raise ToolkitError(f"{where} {remedy}.") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    beside = Path(f"{path}.lock")
    for file in (path, beside):
        check_writable(file, "store=")
    with explained(beside):
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    with open(handle, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ToolkitError(
                f"store={shown_path(path)} is in use by another sweep: wait for it to end, or give another store."
            ) from error
        # SQLite would make a new file readable for everybody; its log beside it has the mode of the file.
        with explained(path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE))
        yield
