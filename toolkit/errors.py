"""The errors that the toolkit raises on purpose.

Every message says the value, the rule it breaks and the remedy. All of them derive from :class:`ToolkitError`, so one
``except`` is enough at the edge of a program.
"""

from __future__ import annotations


class ToolkitError(Exception):
    """Base of every error raised by the toolkit itself."""


class PlanError(ToolkitError, ValueError):
    """A plan, or a value it is made of, breaks a rule. Raised while planning: nothing has run."""


class ModelError(ToolkitError, TypeError):
    """A model is of a class, or in a state, that the requested mode cannot serve."""


class NotExact(ToolkitError, NotImplementedError):
    """An operation that cannot be computed exactly on shards, or for which there is no rule. Nothing is returned."""


class RunError(ToolkitError, RuntimeError):
    """A run did not finish. The cluster it ran on has been reset and is usable again.

    Attributes:
        settled: whether every rank had answered, in one way or the other, when the error was raised.
        trace: the events up to then, as ``Run.trace``; None where none were recorded.
    """

    settled: bool = False
    trace: object = None


class RankFailed(RunError):
    """A rank raised; the message carries that rank's own traceback.

    Attributes:
        rank: the rank that raised first.
        remote_traceback: its traceback, formatted on the rank.
    """

    def __init__(self, rank: int, summary: str, remote_traceback: str) -> None:
        super().__init__(f"rank {rank} raised {summary}\n\n{_boxed(rank, remote_traceback)}")
        self.rank = rank
        self.summary = summary
        self.remote_traceback = remote_traceback

    def __reduce__(self) -> tuple[type[RankFailed], tuple[int, str, str]]:
        return type(self), (self.rank, self.summary, self.remote_traceback)


class RankDied(RunError):
    """A rank's process ended without a word: a signal, the out-of-memory killer, a hard exit.

    Attributes:
        rank: the rank whose process ended.
        exitcode: as :class:`multiprocessing.Process` gives it (negative: the signal's number).
    """

    def __init__(self, rank: int, exitcode: int | None, cause: str) -> None:
        super().__init__(f"rank {rank} died: {cause}")
        self.rank = rank
        self.exitcode = exitcode


class RunTimeout(RunError, TimeoutError):
    """Some ranks were still running when the run's ``timeout`` was over.

    Attributes:
        ranks: the ranks that had not finished.
    """

    def __init__(self, ranks: tuple[int, ...], seconds: float, last: str) -> None:
        names = ", ".join(map(str, ranks))
        super().__init__(
            f"rank(s) {names} had not finished after timeout={seconds:g} s ({last}); "
            "they were stopped. Raise timeout=, or look at the trace of a smaller run."
        )
        self.ranks = ranks


class RunCancelled(RunError):
    """The run was cancelled through its job."""


def _boxed(rank: int, text: str) -> str:
    return f"--- traceback on rank {rank} ---\n{text.rstrip()}\n--- end of rank {rank} ---"
