"""Faults: what happened to a rank, as an error that names the cause."""

from __future__ import annotations

import signal
from pathlib import Path

from toolkit.cluster.engines.engine_protocol import Ended
from toolkit.errors import RankDied, RankFailed, RunError

_ENDED_BY_KILLER, _FULL = "the out-of-memory killer took it", "It ran out of memory"
STOPPED = "stopped by a signal"
_STATES = {"R": "computing", "S": "waiting", "D": "in the kernel", "T": STOPPED, "Z": "ended"}


def out_of_memory_kills() -> int:
    """How often the system's out-of-memory killer has struck in this process's control group; 0 if unknown."""
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2].lstrip("/")
        lines = (Path("/sys/fs/cgroup") / group / "memory.events").read_text().splitlines()
        return int(dict(line.split() for line in lines).get("oom_kill", 0))
    except (OSError, ValueError):
        return 0


def died(rank: int, ended: Ended, *, last: str) -> RankDied:
    """The error for a rank whose process ended without a report.

    Args:
        rank: The rank.
        ended: How its process ended.
        last: What was last heard of the rank.
    """
    exitcode = ended.exitcode
    if ended.cause:
        cause = ended.cause
    elif exitcode is not None and exitcode < 0:
        name = _signal_name(-exitcode)
        cause = f"ended by {name}"
        if name == "SIGKILL" and ended.oom_kills:
            cause += f": {_ENDED_BY_KILLER}. Use smaller tiles, or fewer ranks on this machine"
        elif name == "SIGKILL":
            cause += ", which the out-of-memory killer or another process sends"
    else:
        cause = f"its process exited with code {exitcode}"
    return RankDied(rank, exitcode, f"{cause} ({last})")


def _signal_name(number: int) -> str:
    # Real-time signals have numbers only.
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def failed(rank: int, summary: str, *, remote_traceback: str) -> RankFailed:
    """The error for a rank that raised; if it ran out of memory, the message says so."""
    words = ("can't allocate memory", "out of memory", "MemoryError", "OutOfMemoryError")
    if any(word in summary for word in words):
        summary = f"{summary}\n{_FULL}: use smaller tiles, or more ranks on more devices."
    return RankFailed(rank, summary, remote_traceback)


def first_cause(errors: list[RunError]) -> RunError:
    """The error that the others follow from: a death before a rank's own error, and that before the rest."""

    def order(error: RunError) -> int:
        if isinstance(error, RankDied):
            return 0
        echoed = isinstance(error, RankFailed) and error.summary.startswith("RankFailed")
        lost = any(word in str(error) for word in ("Connection closed", "Connection reset", "Broken pipe"))
        return 3 if echoed else 2 if lost else 1

    return min(errors, key=order)


def ran_out_of_memory(error: RunError) -> bool:
    """Whether a rank failed because it, or its machine, had no memory left."""
    return isinstance(error, RankFailed | RankDied) and any(words in str(error) for words in (_ENDED_BY_KILLER, _FULL))


def process_state(pid: int) -> str:
    """What a process is doing, in a word, as the system sees it."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "state unknown"
    return _STATES.get(letter, f"state {letter}")


def is_stopped(pid: int) -> bool:
    """Whether a signal, such as SIGSTOP, has stopped a process."""
    return process_state(pid) == STOPPED
