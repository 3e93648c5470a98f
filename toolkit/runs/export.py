"""Runs as files: Chrome trace and parquet."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd

from toolkit.runs.record import Record
from toolkit.runs.written import AnyPath, Data, check_folder, check_writable, write, write_all


def write_chrome_trace(trace: pd.DataFrame, memory: pd.DataFrame, *, record: Record, path: str | Path) -> Path:
    """Write a run's trace and memory for chrome://tracing or Perfetto: one process per rank.

    Args:
        trace: the run's events.
        memory: its memory curves.
        record: where it comes from.
        path: file to write; compressed where it ends in ``.gz``.
    """
    check_writable(path)
    path = Path(path)
    text = json.dumps({"traceEvents": _events(trace, memory), "otherData": {"record": record.to_json()}})
    data = text.encode()
    # No name and no time in the header: the same run gives the same bytes.
    return write(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def write_parquet(trace: pd.DataFrame, memory: pd.DataFrame, *, record: Record, folder: str | Path) -> Path:
    """Write ``trace.parquet``, ``memory.parquet`` and ``record.json``: all of them, or none if one fails.

    Args:
        trace: the run's events.
        memory: its memory curves.
        record: where it comes from.
        folder: the folder that they go to. It is made if it does not exist, but none above it.
    """
    check_folder(folder)
    folder = Path(folder)
    files: dict[AnyPath, Data] = {
        folder / "trace.parquet": trace.to_parquet,
        folder / "memory.parquet": memory.to_parquet,
        folder / "record.json": record.to_json(),
    }
    write_all(files, folder=folder)
    return folder


def read_parquet(folder: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read back the trace and the memory that :func:`write_parquet` wrote."""
    folder = Path(folder)
    return pd.read_parquet(folder / "trace.parquet"), pd.read_parquet(folder / "memory.parquet")


def _events(trace: pd.DataFrame, memory: pd.DataFrame) -> list[dict[str, Any]]:
    ranks = sorted(set(trace["rank"]))
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": rank, "args": {"name": f"rank {rank}"}} for rank in ranks
    ]
    for row in trace.to_dict(orient="records"):
        events.append(
            {
                "ph": "X",
                "name": f"{row['kind']} {row['label']}".strip(),
                "cat": row["kind"],
                "pid": row["rank"],
                "tid": 0,
                "ts": row["start"] * 1e6,
                "dur": (row["end"] - row["start"]) * 1e6,
                "args": {"bytes": row["bytes"]},
            }
        )
    for point in memory.to_dict(orient="records"):
        value = {"bytes": point["bytes"]}
        events.append({"ph": "C", "name": "allocated", "pid": point["rank"], "ts": point["time"] * 1e6, "args": value})
    return events
