"""What is shown of a run that goes on: a row for each rank, and what went wrong under the rank where it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from toolkit.cluster.engines.local.processes import resident_bytes
from toolkit.cluster.job import Job
from toolkit.errors import RankDied, RankFailed, RunCancelled
from toolkit.geometry.drawing.html import cell, chip, table, word
from toolkit.planning.predict import in_bytes

UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class RankState:
    """Where one rank stands.

    Attributes:
        rank: the rank.
        done: its tiles, shards or steps that are done; None where they are not counted for this rank.
        total: of how many; 0 where nobody knows.
        resident: bytes that its process holds on the host; None where it has none, or the system does not say.
        last: what it has last said that it did; empty before it has.
    """

    rank: int
    done: int | None
    total: int
    resident: int | None
    last: str


def states(job: Job[Any]) -> tuple[RankState, ...]:
    """Where each rank of a run stands."""
    progress, pids, heard = job.progress, job.pids, job.heard
    found = []
    for rank in range(max(len(pids), *(index + 1 for index in (*progress, *heard)))):
        done, total = progress.get(rank, (None, 0))
        last = f"{heard[rank].kind} {heard[rank].label}".strip() if rank in heard else ""
        found.append(RankState(rank, done, total, resident_bytes(pids[rank]) if rank < len(pids) else None, last))
    return tuple(found)


def remaining(job: Job[Any]) -> float | None:
    """Seconds until the slowest rank is through, at the pace it has had; None where it is not known.

    Counts tiles, not what comes after the last: blends, and the way of the output to this process.
    """
    heard, left = job.heard, []
    for rank, (done, total) in job.progress.items():
        if done < total:
            if not done:
                return None
            left.append(heard[rank].end / done * (total - done))
    return max(left) if left else None


def rows(ranks: Sequence[RankState]) -> str:
    """A table with a row for each rank; a dash for what is not known."""
    lines = [
        [
            chip(state.rank),
            _counted(state.done, state.total),
            cell(UNKNOWN if state.resident is None else in_bytes(state.resident)),
            word(state.last or UNKNOWN),
        ]
        for state in ranks
    ]
    return table(["rank", "done", "resident", "last"], lines, words=["last"])


def faults(error: BaseException | None) -> str:
    """What a run raised, and the remote traceback folded away; nothing for none, or where it was cancelled."""
    if error is None or isinstance(error, RunCancelled):
        return ""
    where = f"rank {error.rank}" if isinstance(error, RankFailed | RankDied) else type(error).__name__
    what, detail = (error.summary, error.remote_traceback) if isinstance(error, RankFailed) else (str(error), "")
    folded = f"<details><summary>traceback of {where}</summary><pre>{escape(detail)}</pre></details>"
    return f'<p role="alert"><b>{escape(where)}</b>: {escape(what)}</p>' + (folded if detail else "")


def _counted(done: int | None, total: int) -> str:
    """So many of so many, on a bar."""
    if done is None or not total:
        return cell(UNKNOWN if done is None else done)
    return f'<td class="tk-bar" style="--tk-part:{100 * done / total:.0f}%">{done} of {total}</td>'
