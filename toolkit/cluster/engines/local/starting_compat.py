"""Starting processes, and what multiprocessing leaves out. The one file that uses its private names.

If a new release of Python moves one, only this file and its test break.
"""

from __future__ import annotations

import os
import weakref
from multiprocessing import forkserver, process, util
from multiprocessing.process import BaseProcess

DESCRIPTORS = 12
"""Files that starting a process opens at most, most of them for a moment."""

_started: weakref.WeakSet[BaseProcess] = weakref.WeakSet()


def start_process(one: BaseProcess) -> None:
    """Start a process, also after multiprocessing's folder of temporary files was cleaned up.

    Why ``_forkserver_pid``: the fork server is reached through a socket in that folder. Without it the server is alive
    and out of reach for ever. It is left to the processes that it has forked, and ends with them.

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
        forkserver._forkserver._forkserver_pid = None  # type: ignore[attr-defined]
        one.start()
    _started.add(one)


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


os.register_at_fork(after_in_child=_forget_children)
