"""Lost links: connections to other hosts that a dropped link leaves open, and how this process notices.

A host that loses its link says nothing any more, and neither gloo nor torch's store asks: whoever waits for a message
waits for ever. The system can ask. It probes idle connections, and gives up those whose data nobody confirms. Then the
next look at the connection raises, in gloo as in the store, and every wait on both sides of the link ends.

It is the other *system* that answers the probes, not the process. So a rank that computes for an hour, waits for a disk
or is stopped by a debugger is not taken for one that is lost.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SILENCE = 10.0
"""Seconds of silence after which a connection is given up."""

ROUND = 1.0
"""Seconds between two looks for new connections: some groups connect when they are made, others when first used."""

DESCRIPTORS = Path("/proc/self/fd")


@contextmanager
def noticed_links(silence: float = SILENCE) -> Iterator[None]:
    """Give up this process's TCP connections after some silence, for the ``with`` block.

    Connections that are made in the block are included. Where the system does not list them (only Linux does), nothing
    happens, and a wait ends with its own limit.

    Args:
        silence: Seconds of silence after which the system gives up a connection.
    """
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            limit_silence(silence)
            over.wait(ROUND)

    thread = threading.Thread(target=look, name="toolkit-links", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(ROUND)


def limit_silence(silence: float) -> int:
    """Have the system give up every TCP connection that this process has now, after some silence.

    Args:
        silence: Seconds.

    Returns:
        The number of connections.
    """
    found = 0
    for entry in DESCRIPTORS.iterdir() if DESCRIPTORS.is_dir() else ():
        # Another thread may close a descriptor at any moment, or open something else under its number.
        with suppress(OSError):
            if os.readlink(entry).startswith("socket:"):
                found += _limit_one(int(entry.name), silence)
    return found


def _limit_one(descriptor: int, silence: float) -> bool:
    # A duplicate of the descriptor, because a socket object closes what it is given. Options belong to the connection.
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
            return False
        connection.getpeername()  # raises for what is not connected, such as a socket that listens
        for option, value in _options(silence):
            connection.setsockopt(*option, value)
        return True


def _options(silence: float) -> list[tuple[tuple[int, int], int]]:
    tcp = socket.IPPROTO_TCP
    pause = max(int(silence / 4), 1)
    return [
        # For connections on which nothing is under way.
        ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1),
        ((tcp, socket.TCP_KEEPIDLE), pause),
        ((tcp, socket.TCP_KEEPINTVL), pause),
        ((tcp, socket.TCP_KEEPCNT), 3),
        # For data that the other system has not confirmed: without it the system tries for a quarter of an hour.
        ((tcp, socket.TCP_USER_TIMEOUT), int(silence * 1000)),
    ]
