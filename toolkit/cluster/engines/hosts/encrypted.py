"""TLS over a socket that never waits: with Python's own TLS sockets, one thread must both read and write.

It looks like the few methods of a socket that lines and handshakes use.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from toolkit.errors import ToolkitError

RECORD = 1 << 18
"""Bytes that are encrypted at once."""


class Encrypted:
    """A TCP socket whose bytes are encrypted.

    Args:
        end: A connected socket. It waits, as far as its timeout says, until the handshake is over.
        context: The certificates.
        server: Whether this end has shown a certificate, which is the kernel's.

    Raises:
        OSError: If the other end has no such certificate, or speaks no TLS.
    """

    def __init__(self, end: socket.socket, context: ssl.SSLContext, *, server: bool) -> None:
        self._end = end
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._coming, self._going, server_side=server)
        self._unsent = memoryview(b"")
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                end.sendall(self._going.read())
                self._take_in()
            except ssl.SSLError:
                end.sendall(self._going.read())  # why it was refused
                raise
        end.sendall(self._going.read())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._end, name)

    @property
    def unsent(self) -> bool:
        """Whether encrypted bytes are left that the socket has not taken."""
        return bool(self._unsent)

    def flush(self) -> None:
        """Hand the socket what it takes.

        Raises:
            BlockingIOError: If it takes nothing now.
        """
        while self._unsent:
            self._unsent = self._unsent[self._end.send(self._unsent) :]

    def sendmsg(self, pieces: Sequence[memoryview]) -> int:
        """Send some bytes, if those before have gone; returns how many."""
        self.flush()
        sent = 0
        for piece in pieces:
            sent += self._tls.write(piece[:RECORD])
            if len(piece) > RECORD:
                break
        self._unsent = memoryview(self._going.read())
        with suppress(BlockingIOError):
            self.flush()
        return sent

    def sendall(self, data: bytes) -> None:
        """Send all bytes, waiting for the socket."""
        self._tls.write(data)
        self._end.sendall(self._going.read())

    def recv(self, size: int) -> bytes:
        """Some bytes; none if the other end is closed.

        Raises:
            BlockingIOError: If none can be decrypted yet, and the socket does not wait.
        """
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                if not self._take_in():
                    return b""

    def _take_in(self) -> bool:
        data = self._end.recv(RECORD)
        self._coming.write(data)
        return bool(data)


def kernels_context(certificate: str | os.PathLike[str], private_key: str | os.PathLike[str]) -> ssl.SSLContext:
    """What the kernel shows.

    Raises:
        ToolkitError: If the files cannot be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, private_key)
    except OSError as error:  # ssl's errors are such, too
        raise ToolkitError(f"certificate {certificate} with private_key {private_key}: {error}.") from error
    return context


def agents_context(certificate: str | os.PathLike[str]) -> ssl.SSLContext:
    """What an agent accepts: this certificate, or those that it has signed, whatever names they bear.

    Raises:
        ToolkitError: If the file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(certificate)
    except OSError as error:
        raise ToolkitError(f"certificate {certificate}: {error}.") from error
    return context
