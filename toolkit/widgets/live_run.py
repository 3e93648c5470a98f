"""Watch a run while it goes on, and cancel it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from IPython.display import DisplayHandle, display
from ipywidgets import HTML, Button, HBox, VBox, Widget

from toolkit.cluster.job import Job
from toolkit.errors import PlanError, RunCancelled, ToolkitError
from toolkit.sweeps.outcome import in_words
from toolkit.widgets.board import Shown
from toolkit.widgets.live_view import RankState, faults, remaining, rows, states
from toolkit.widgets.markup import page

INTERVAL = 0.1
"""Seconds between updates."""


class LiveRun(Shown):
    """A live view of a run: one row per rank, and a button that cancels it. Made by :func:`live`.

    Attributes:
        widget: The widget that a notebook shows.
        job: The run being watched, or the last one; None before the first.
        refused: Why the run could not be started; empty if it could.
    """

    job: Job[Any] | None
    refused: str

    def __init__(self, start: Callable[[], Job[Any]], title: str, *, button: bool) -> None:
        self.job = None
        self.refused = ""
        self._start, self._title, self._restarts = start, title, button
        self._table = HTML()
        self._follower = threading.Thread()
        self._shown: list[DisplayHandle] = []
        self._cancel = Button(description="Cancel", tooltip="Cancel the run.", tabbable=True)
        self._run = Button(description="Run", tooltip="Start the run.", tabbable=True)
        self._cancel.on_click(lambda button: self.cancel(wait=False))
        self._run.on_click(lambda button: self._pressed())
        self.widget: Widget = VBox([HBox([self._run, self._cancel] if button else [self._cancel]), self._table])
        self._refresh()

    def start(self) -> None:
        """Start the run, as the button does; if it is refused, show the reason."""
        self._begin(ToolkitError)

    def _begin(self, shown: type[Exception]) -> None:
        """Start the run, and show errors of a type in place of raising them."""
        if self.outcome == "running":
            return
        try:
            self.job, self.refused = self._start(), ""
        except shown as error:
            self.refused = in_words(error)
        self._refresh()
        if not self.refused:
            self._follower = threading.Thread(target=self._follow, args=(self.job,), name="toolkit-live", daemon=True)
            self._follower.start()

    def _pressed(self) -> None:
        self._begin(Exception)  # front ends hide what a button's callback raises
        if self.outcome == "running":
            self._cancel.focus()  # Run, which had the focus, is disabled now

    def cancel(self, wait: bool = True) -> None:
        """Cancel the run, as the button does; with ``wait``, return when it has ended."""
        if self.job is not None:
            self.job.cancel(wait)
            self.settle(None if wait else 0.0)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the run and return its result, or raise its error.

        Raises:
            ToolkitError: If no run was started.
            RunTimeout: If the run has not ended within ``timeout`` seconds; it goes on.
        """
        if self.job is None:
            raise ToolkitError("no run has been started: press Run, or call start() first.")
        try:
            return self.job.result(timeout)
        finally:
            self.settle(None if self.job.done else 0.0)

    def settle(self, timeout: float | None = None) -> None:
        """Wait at most ``timeout`` seconds until the run has ended and its end is shown."""
        if self._follower.is_alive():
            self._follower.join(timeout)

    @property
    def outcome(self) -> str:
        """``"not started"``, ``"refused"``, ``"running"``, ``"done"``, ``"cancelled"`` or ``"failed"``."""
        if self.refused:
            return "refused"
        if self.job is None:
            return "not started"
        if not self.job.done:
            return "running"
        if self.job.error is None:
            return "done"
        return "cancelled" if isinstance(self.job.error, RunCancelled) else "failed"

    @property
    def ranks(self) -> tuple[RankState, ...]:
        """The state of each rank."""
        return () if self.job is None else states(self.job)

    @property
    def eta(self) -> float | None:
        """Seconds until the slowest rank is done with its tiles; None if unknown."""
        return remaining(self.job) if self.job is not None and self.outcome == "running" else None

    @property
    def html(self) -> str:
        """What is shown now, for pages without a kernel."""
        value: str = self._table.value
        return value

    def _follow(self, job: Job[Any]) -> None:
        """Update the view until the run has ended. This needs a thread, because it would otherwise block the kernel."""
        while not job.wait(INTERVAL):
            self._refresh()
        self._refresh()
        for shown in self._shown:
            shown.update(self._static(), raw=True)

    def _refresh(self) -> None:
        running = self.outcome == "running"
        self._cancel.disabled, self._run.disabled = not running, running
        error = PlanError(self.refused) if self.refused else self.job.error if self.job else None
        table = rows(self.ranks) if self.job is not None else ""
        drawing = page(self._title, self._sentence(), body=table + faults(error))
        if drawing != self._table.value:
            self._table.value = drawing

    def _sentence(self) -> str:
        outcome = self.outcome
        if self.job is None or outcome == "refused":
            return outcome
        if outcome != "running":
            return f"{outcome} after {self.job.seconds:.1f} s"
        left = "" if self.eta is None else f", about {self.eta:.1f} s left"
        return f"running for {self.job.seconds:.1f} s{left}"

    def _static(self) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.html}

    def __repr__(self) -> str:
        done, total = (sum(getattr(state, name) or 0 for state in self.ranks) for name in ("done", "total"))
        return f"LiveRun({self.outcome}" + (f", {done} of {total})" if total else ")")

    def _ipython_display_(self) -> None:
        """Show the widget while there is something to watch or press, and a static view of the result afterwards.

        A notebook that is saved after the run then shows how it ended; a widget would show nothing without its kernel.
        """
        if self._restarts:
            display(self._repr_mimebundle_(), raw=True)
        elif self.outcome != "running":
            display(self._static(), raw=True)
        else:
            self._shown.append(display(self._repr_mimebundle_(), raw=True, display_id=True))
            if self.outcome != "running":
                self.settle()
                self._shown[-1].update(self._static(), raw=True)


def live(run: Job[Any] | Callable[[], Job[Any]], title: str = "Run") -> LiveRun:
    """Watch a run in the background: tiles done, memory, time left, and a button that cancels it.

    A cell that waits for its run blocks all widgets of the notebook, so the run must be a job.

    Args:
        run: A job, as ``decode``, ``encode`` or ``generate`` return it with ``block=False``; or a function that starts
            a run and returns its job: then a button starts it, as often as you like.
        title: Heading of the view.

    Raises:
        ToolkitError: If ``run`` is anything else.

    Example:
        >>> live(lambda: cluster.decode(vae, latent, plan, block=False, progress=False))
        LiveRun(not started)
    """
    if isinstance(run, Job):
        watched = LiveRun(lambda: run, title, button=False)
        watched.start()
        return watched
    if not callable(run):
        raise ToolkitError(
            f"run={run!r}: give the job that cluster.decode(..., block=False) returns, or a function that starts one."
        )
    return LiveRun(run, title, button=True)
