"""The view of a run in progress: one row per rank, and any error with its remote traceback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from toolkit.cluster.engines.local.processes import resident_bytes
from toolkit.cluster.job import Job
from toolkit.errors import RankDied, RankFailed, RunCancelled
from toolkit.geometry.counting import in_bytes
from toolkit.geometry.drawing.html import cell, chip, table, word

UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class RankState:
    """The state of one rank.

    Attributes:
        rank: The rank.
        done: Number of tiles, shards or steps that are done; None if this rank does not count any.
        total: Number of them in all; 0 if unknown.
        resident: Bytes of host memory that its process holds; None if it has no process here or the system does not
            tell.
        last: The last thing that it reported doing; empty before the first report.
        host: The host that it is on; empty for this machine.
    """

    rank: int
    done: int | None
    total: int
    resident: int | None
    last: str
    host: str = ""


def states(job: Job[Any]) -> tuple[RankState, ...]:
    """The state of each rank of a run."""
    progress, pids, hosts, heard = job.progress, job.pids, job.hosts, job.heard
    found = []
    for rank in range(max(len(pids), *(index + 1 for index in (*progress, *heard)))):
        done, total = progress.get(rank, (None, 0))
        last = f"{heard[rank].kind} {heard[rank].label}".strip() if rank in heard else ""
        host = hosts[rank] if rank < len(hosts) else ""
        resident = resident_bytes(pids[rank]) if rank < len(pids) and not host else None
        found.append(RankState(rank, done, total, resident, last, host))
    return tuple(found)


def remaining(job: Job[Any]) -> float | None:
    """Seconds until the slowest rank is done, at its pace so far; None if unknown.

    Counts tiles only, not what follows the last one: blending, and moving the output to this process.
    """
    heard, left = job.heard, []
    for rank, (done, total) in job.progress.items():
        if done < total:
            if not done:
                return None
            left.append(heard[rank].end / done * (total - done))
    return max(left) if left else None


def rows(ranks: Sequence[RankState]) -> str:
    """A table with one row per rank, with a dash for unknown values."""
    several = any(state.host for state in ranks)
    lines = [
        [
            chip(state.rank),
            *([word(state.host or "here")] if several else []),
            _counted(state.done, state.total),
            cell(UNKNOWN if state.resident is None else in_bytes(state.resident)),
            word(state.last or UNKNOWN),
        ]
        for state in ranks
    ]
    names = ["rank", *(["host"] if several else []), "done", "resident", "last"]
    return table(names, lines, words=["host", "last"] if several else ["last"])


def faults(error: BaseException | None) -> str:
    """A run's error, with the remote traceback folded; empty if there is none, or the run was cancelled."""
    if error is None or isinstance(error, RunCancelled):
        return ""
    where = f"rank {error.rank}" if isinstance(error, RankFailed | RankDied) else type(error).__name__
    what, detail = (error.summary, error.remote_traceback) if isinstance(error, RankFailed) else (str(error), "")
    folded = f"<details><summary>traceback of {where}</summary><pre>{escape(detail)}</pre></details>"
    return f'<p role="alert"><b>{escape(where)}</b>: {escape(what)}</p>' + (folded if detail else "")


def _counted(done: int | None, total: int) -> str:
    """A cell with a bar that says how many are done."""
    if done is None or not total:
        return cell(UNKNOWN if done is None else done)
    return f'<td class="tk-bar" style="--tk-part:{100 * done / total:.0f}%">{done} of {total}</td>'
