"""Calling the kernel: how an agent finds it, proves itself, and comes back for the next cluster."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from threading import Event

from toolkit.cluster.engines.hosts.agent import Agent
from toolkit.cluster.engines.hosts.encrypted import Encrypted
from toolkit.cluster.engines.hosts.handshake import introduce_agent
from toolkit.cluster.engines.hosts.host import About
from toolkit.cluster.engines.hosts.host_line import HostLine
from toolkit.cluster.engines.local.launch import warm_up
from toolkit.errors import ToolkitError

AGAIN = 0.5
"""Seconds between two calls that nobody answers."""

CONNECT_LIMIT = 5.0
"""Seconds that one call has."""


def serve_kernels(
    address: tuple[str, int],
    key: bytes,
    about: About,
    *,
    patience: float,
    once: bool = False,
    tls: ssl.SSLContext | None = None,
    ending: Event | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve clusters of the kernel at an address, one after the other, until there has been none for some time.

    Args:
        address: Where the kernel's clusters listen.
        key: What both ends prove to have.
        about: What is to be said of this host.
        patience: Seconds without a cluster after which the agent ends.
        once: End with the first cluster.
        tls: The certificate that the kernel must show; None: the line is in the clear.
        ending: Set where the agent is to end, within a second or so.
        say: Told what happens, in lines.

    Raises:
        ToolkitError: If the kernel has another key or other versions, or there has never been one.
    """
    warm_up()
    served, until, ending = 0, time.monotonic() + patience, ending or Event()
    while (line := _call(address, key, until, ending, tls)) is not None:
        line.put("about", about)
        say(f"at work for {address[0]}:{address[1]}, {about.slots} ranks, from {line.here}")
        try:
            Agent(line, ending).serve()
            say("ended" if ending.is_set() else "the cluster was closed")
        except (EOFError, OSError) as error:
            say(f"the line to the kernel is lost ({error}); the ranks here have ended")
        finally:
            line.close()
        served += 1
        if once or ending.is_set():
            return
        until = time.monotonic() + patience
    if ending.is_set():
        return
    if not served:
        raise ToolkitError(f"no cluster answered at {address[0]}:{address[1]} within {patience:.0f} s.")
    say(f"no further cluster within {patience:.0f} s")


def parse_address(text: str) -> tuple[str, int]:
    """The host and the port of ``HOST:PORT``.

    Raises:
        ToolkitError: For anything else.

    Example:
        >>> parse_address("10.0.0.1:7000")
        ('10.0.0.1', 7000)
        >>> parse_address("[fe80::1]:7000")
        ('fe80::1', 7000)
    """
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 1 << 16):
        raise ToolkitError(f"address {text!r}: must be HOST:PORT, such as 10.0.0.1:7000.")
    return host.strip("[]"), int(port)


def _call(
    address: tuple[str, int], key: bytes, until: float, ending: Event, tls: ssl.SSLContext | None
) -> HostLine | None:
    """A line to the kernel; None if nobody answers in time, or the agent is to end."""
    while not ending.is_set():
        try:
            end = socket.create_connection(address, timeout=CONNECT_LIMIT)
            try:
                line = end if tls is None else Encrypted(end, tls, server=False)
                introduce_agent(line, key)
                return HostLine(line)
            except ssl.SSLError as error:
                end.close()
                raise ToolkitError(f"the kernel at {address[0]} does not show that certificate: {error}.") from error
            except BaseException:
                end.close()
                raise
        except OSError:
            if time.monotonic() > until:
                return None
            ending.wait(AGAIN)
    return None
