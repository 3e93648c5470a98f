"""Starting processes, and what multiprocessing leaves out. The one file that uses its private names.

If a new release of Python moves one, only this file and its test break.
"""

from __future__ import annotations

import os
import weakref
from multiprocessing import forkserver, process, util
from multiprocessing.process import BaseProcess
from typing import Any

DESCRIPTORS = 12
"""Files that starting a process opens at most, most of them for a moment."""

_started: weakref.WeakSet[BaseProcess] = weakref.WeakSet()


def start_process(one: BaseProcess) -> None:
    """Start a process, also after multiprocessing's folder of temporary files was cleaned up.

    Why ``_forkserver_pid`` and ``_forkserver_alive_fd``: the fork server is reached through a socket in that folder.
    Without it the server is alive and out of reach for ever. It is left to the processes that it has forked, which
    hold the other copies of the descriptor, and ends with them.

    Why ``_children``: a fork of this process, made by ``os.fork``, ends the children that it believes to be its own
    when it exits. They are still this process's.

    Raises:
        OSError: If the process could not be started, as with too few file descriptors.
    """
    _check_descriptors()
    try:
        one.start()
    except (FileNotFoundError, ConnectionRefusedError):
        os.makedirs(util.get_temp_dir(), mode=0o700, exist_ok=True)
        _leave_fork_server()
        one.start()
    _started.add(one)


def _leave_fork_server() -> None:
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    if server._forkserver_pid is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_pid = server._forkserver_alive_fd = None


def _check_descriptors() -> None:
    # A fork server whose client gives up in the middle of a request ends, with all that it has forked.
    opened: list[int] = []
    try:
        while len(opened) < DESCRIPTORS:
            opened += os.pipe()
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _forget_children() -> None:
    process._children.difference_update(_started)  # type: ignore[attr-defined]


def _remake_folder() -> None:
    # At exit multiprocessing removes the folder, and prints a traceback where somebody has removed it already.
    folder = process.current_process()._config.get("tempdir")  # type: ignore[attr-defined]
    if folder is not None:
        os.makedirs(folder, mode=0o700, exist_ok=True)


os.register_at_fork(after_in_child=_forget_children)
util.Finalize(None, _remake_folder, exitpriority=-99)
