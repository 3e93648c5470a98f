"""Starting worker processes in the background, so that a notebook need not wait for them.

Starting takes seconds: a worker imports torch, diffusers and the model's module. With ``forkserver``, a server process
imports them once and every worker is a fork of it. The server never touches an accelerator, so its forks may use one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any, Literal, get_args

from torch import multiprocessing

from toolkit.cluster.engines.local.channel import Channel
from toolkit.cluster.engines.local.starting_compat import start_process
from toolkit.cluster.engines.local.worker import main
from toolkit.cluster.engines.setup import Setup
from toolkit.errors import PlanError, RunError

Start = Literal["forkserver", "spawn"]

PRELOADED = (
    "toolkit.cluster.engines.local.worker",
    "toolkit.cluster.decode_on_rank",
    "toolkit.cluster.generate_on_rank",
    "diffusers.models.autoencoders.vae",
)
"""What the fork server imports: the worker, the functions that it calls, and what every autoencoder class imports."""


def start_of(start: str | None) -> Start:
    """How workers are started: ``start``, or the quicker way that is safe on this system.

    macOS forbids forks of processes that have used certain system libraries, which torch does when it is imported.

    Raises:
        PlanError: For another way.

    Example:
        >>> start_of("spawn")
        'spawn'
    """
    if start is None:
        return "spawn" if sys.platform == "darwin" else "forkserver"
    if start not in get_args(Start):
        raise PlanError(f"start={start!r}: must be one of {', '.join(get_args(Start))}, or None for the quicker one.")
    return start  # type: ignore[return-value]


def warm_up() -> None:
    """Start the fork server, which takes seconds to import everything, before there is a process to start."""
    _context("forkserver")
    forkserver.ensure_running()


class Launch:
    """Worker processes that are being started on a background thread, one channel each.

    A fork server answers only once it has imported everything, so even asking it for a process takes seconds.

    Args:
        setups: The set-up of each worker, by rank.
        start: How processes are started.

    Attributes:
        processes: The processes started so far, by rank.
        channels: The kernel's ends of their channels, by rank.
        error: What starting one of them raised; None where nothing was.
    """

    def __init__(self, setups: Sequence[Setup], start: Start) -> None:
        self._setups = setups
        self._context = _context(start)
        self.processes: list[BaseProcess] = []
        self.channels: list[Channel] = []
        self.error: BaseException | None = None
        self._abandoned = self._ended = False
        self._ending = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="toolkit-launch", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; returns whether all processes have been started, or one could not be."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Start no more processes, and end those that have been started, now or as soon as the thread gets there."""
        with self._ending:
            self._abandoned = True
            if self._ended:
                self._end()

    def _run(self) -> None:
        try:
            _check_working_folder()
            for setup in self._setups:
                if self._abandoned:
                    break
                self._start(setup)
        except BaseException as error:
            self.error = error
        with self._ending:
            self._ended = True
            if self._abandoned:
                self._end()

    def _start(self, setup: Setup) -> None:
        mine, theirs = Channel.pair()
        process = self._context.Process(target=main, args=(theirs, setup), name=f"rank {setup.rank}", daemon=True)
        try:
            start_process(process)
        except BaseException:
            mine.close()
            raise
        finally:
            theirs.close()
        self.processes.append(process)
        self.channels.append(mine)

    def _end(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()
        for channel in self.channels:
            channel.close()


def _context(start: Start) -> Any:
    context: Any = multiprocessing.get_context(start)
    if start == "forkserver":
        context.set_forkserver_preload(list(PRELOADED))
    return context


def _check_working_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise RunError("the working folder has been removed: os.chdir() to one that exists.") from error


def environment() -> dict[str, str]:
    """The kernel's environment variables: a fork server keeps those of its own start."""
    return dict(os.environ)
