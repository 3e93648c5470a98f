"""The errors that the toolkit raises on purpose.

Every message gives the value, the rule that it breaks, and the remedy. All errors derive from :class:`ToolkitError`, so
one ``except`` is enough at the edge of a program. All of them can be pickled.
"""

from __future__ import annotations

from toolkit.cell_traceback import cell_traceback, without_own_frames


class ToolkitError(Exception):
    """The base of every error that the toolkit raises itself."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the lines of the cell and of the model, and the message."""
        return cell_traceback(self, str(self))


class PlanError(ToolkitError, ValueError):
    """A plan, or a value in it, breaks a rule. Raised while planning, before anything runs."""


class ModelError(ToolkitError, TypeError):
    """The model's class or state cannot be served by the requested mode."""


class NotExact(ToolkitError, NotImplementedError):
    """An operation cannot be computed exactly on shards, or has no rule. Nothing is returned."""


class NotFiniteWarning(UserWarning):
    """An input holds NaN or infinite values. The run goes on, and its output will hold some, too."""


class RunError(ToolkitError, RuntimeError):
    """A run did not finish. The cluster it ran on has been reset and is usable again.

    Attributes:
        settled: Whether every rank had answered, with a result or an error, when this was raised.
        trace: The events until then, as in ``Run.trace``; None if none were recorded.
    """

    settled: bool = False
    trace: object = None


class RankFailed(RunError):
    """A rank raised; the message carries that rank's own traceback.

    Attributes:
        rank: The rank that raised first.
        summary: The type and message of its error.
        remote_traceback: Its traceback, formatted on the rank.
    """

    def __init__(self, rank: int, summary: str, remote_traceback: str) -> None:
        super().__init__(_failed(rank, summary, remote_traceback))
        self.rank = rank
        self.summary = summary
        self.remote_traceback = remote_traceback

    def _render_traceback_(self) -> list[str]:
        text = without_own_frames(self.remote_traceback)
        return cell_traceback(self, _failed(self.rank, self.summary, text))

    def __reduce__(self) -> tuple[type[RankFailed], tuple[int, str, str]]:
        return type(self), (self.rank, self.summary, self.remote_traceback)


class RankDied(RunError):
    """The process of a rank ended without a report: a signal, the out-of-memory killer, a hard exit.

    Attributes:
        rank: The rank whose process ended.
        exitcode: As :class:`multiprocessing.Process` gives it; negative for the number of a signal.
        cause: Why it ended, as far as is known.
    """

    def __init__(self, rank: int, exitcode: int | None, cause: str) -> None:
        super().__init__(f"rank {rank} died: {cause}")
        self.rank = rank
        self.exitcode = exitcode
        self.cause = cause

    def __reduce__(self) -> tuple[type[RankDied], tuple[int, int | None, str]]:
        return type(self), (self.rank, self.exitcode, self.cause)


class RunTimeout(RunError, TimeoutError):
    """A run, or the wait for its job, took longer than its ``timeout``.

    Attributes:
        ranks: The ranks that had not finished and were stopped; empty where only the wait ended and the job goes on.
    """

    def __init__(self, message: str, ranks: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.ranks = ranks

    @classmethod
    def of_run(cls, ranks: tuple[int, ...], seconds: float, *, last: str) -> RunTimeout:
        """The error of ranks that were stopped after ``seconds``; ``last`` says what was last heard of them."""
        names = ", ".join(map(str, ranks))
        return cls(
            f"rank(s) {names} had not finished after timeout={seconds:g} s ({last}); they were stopped. Raise "
            "timeout=, or look at the trace of a smaller run.",
            ranks,
        )

    @classmethod
    def of_stopped(cls, ranks: tuple[int, ...], seconds: float) -> RunTimeout:
        """The error of ranks whose processes a signal has stopped, such as SIGSTOP."""
        names = ", ".join(map(str, ranks))
        return cls(
            f"rank(s) {names} have been stopped by a signal for {seconds:g} s and answer nothing; the workers were "
            "ended. Find out who sends SIGSTOP or SIGTSTP, or let them go on (SIGCONT) sooner.",
            ranks,
        )

    @classmethod
    def of_wait(cls, seconds: float) -> RunTimeout:
        """The error of a wait for a job that has not ended after ``seconds``."""
        return cls(f"the job had not ended after timeout={seconds:g} s and goes on: call result() again, or cancel().")

    def __reduce__(self) -> tuple[type[RunTimeout], tuple[str, tuple[int, ...]]]:
        return type(self), (str(self), self.ranks)


class RunCancelled(RunError):
    """The run was cancelled through its job."""


class Interrupted(KeyboardInterrupt):
    """Stop or Ctrl-C was pressed, and raised once clean-up was complete.

    In a notebook it is one line. What it ended is its ``__cause__``, such as a :class:`RunCancelled` with its trace.
    """

    def _render_traceback_(self) -> list[str]:
        ended = f"{self.__cause__} The cluster is usable again." if isinstance(self.__cause__, RunError) else "stopped."
        return [f"KeyboardInterrupt: {ended}"]


def _failed(rank: int, summary: str, text: str) -> str:
    boxed = f"--- traceback on rank {rank} ---\n{text.rstrip()}\n--- end of rank {rank} ---"
    return f"rank {rank} raised {summary}\n\n{boxed}"
