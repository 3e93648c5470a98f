"""Channels: messages between the kernel and one worker, with shared memory handed over beside them.

Descriptors of shared memory travel with the message itself. One that is not received is closed by the system together
with the socket, so a worker that dies on the way leaves nothing behind.
"""

from __future__ import annotations

import array
import os
import select
import socket
import struct
from collections import deque
from typing import Any

from toolkit.cluster.engines.block import Block
from toolkit.cluster.engines.packed import Packed
from toolkit.errors import ToolkitError

HEAD = struct.Struct("!QB")
"""What precedes a message: the length of its pickle, and the number of its blocks."""

SIZE = struct.Struct("!Q")
"""What follows the head once for each block: its size."""

PIECE = 1 << 18
"""Bytes that are read at once."""

INT = array.array("i").itemsize
CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

SEND_LIMIT = 5.0
"""Seconds that a worker has to make room for a message. Messages are small: their tensors lie in blocks."""


class Channel:
    """One end of a line between two processes.

    Args:
        end: A connected Unix stream socket.

    Example:
        >>> mine, theirs = Channel.pair()
        >>> mine.send(("call", 3))
        >>> theirs.receive()
        ('call', 3)
        >>> mine.close()
        >>> theirs.receive()
        Traceback (most recent call last):
        ...
        EOFError: the other end is closed
        >>> theirs.close()
    """

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._read = bytearray()
        self._descriptors: deque[int] = deque()

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(mine), cls(theirs)

    def __reduce__(self) -> tuple[type[Channel], tuple[socket.socket]]:
        return type(self), (self.end,)

    def fileno(self) -> int:
        """The socket's descriptor, to wait for it."""
        return self.end.fileno()

    def send(self, message: Any, *, patient: bool = False) -> None:
        """Send a message.

        Args:
            message: What can be pickled.
            patient: Whether to wait for room as long as the other end is open.

        Raises:
            OSError: If the other end is closed, or made no room within :data:`SEND_LIMIT`.
        """
        self.pass_on(Packed.of(message), patient=patient)

    def pass_on(self, packed: Packed, *, patient: bool = False) -> None:
        """Send a message that is packed already.

        Args:
            packed: The message.
            patient: As for :meth:`send`.

        Raises:
            OSError: As :meth:`send`.
        """
        sizes = b"".join(SIZE.pack(block.nbytes) for block in packed.blocks)
        data = memoryview(HEAD.pack(len(packed.data), len(packed.blocks)) + sizes + packed.data)
        descriptors = array.array("i", [block.descriptor for block in packed.blocks])
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)] if descriptors else []
        while data:
            try:
                sent = self.end.sendmsg([data], beside, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not select.select([], [self.end], [], None if patient else SEND_LIMIT)[1]:
                    raise TimeoutError("the other end does not read") from None
                continue
            data, beside = data[sent:], []

    def receive(self) -> Any:
        """Wait for the next message.

        Raises:
            EOFError: If the other end is closed.
            ToolkitError: If this process may not open another file, so that a block of the message was lost.
        """
        while not self.complete:
            self._fill(0)
        return self.take()

    def fill(self) -> None:
        """Read what has come, without waiting and without unpacking it.

        Raises:
            EOFError: If the other end is closed and nothing more comes.
        """
        try:
            self._fill(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return

    @property
    def complete(self) -> bool:
        """Whether a whole message has been read."""
        if len(self._read) < HEAD.size:
            return False
        length, count = HEAD.unpack_from(self._read)
        return len(self._read) >= HEAD.size + count * SIZE.size + length

    def take(self) -> Any:
        """The first message that has been read; only if one is :attr:`complete`.

        Raises:
            ToolkitError: As :meth:`receive`.
        """
        return self.take_packed().load()

    def take_packed(self) -> Packed:
        """The first message that has been read, as it came; only if one is :attr:`complete`.

        Raises:
            ToolkitError: As :meth:`receive`.
        """
        length, count = HEAD.unpack_from(self._read)
        start = HEAD.size + count * SIZE.size
        sizes = [size for (size,) in SIZE.iter_unpack(self._read[HEAD.size : start])]
        data = bytes(self._read[start : start + length])
        del self._read[: start + length]
        if count > len(self._descriptors):
            raise ToolkitError(
                "a message's shared memory was lost, because this process has as many files open as it may: raise "
                "`ulimit -n`, or keep fewer clusters and runs."
            )
        return Packed(data, [Block(self._descriptors.popleft(), size) for size in sizes])

    def close(self) -> None:
        """Close this end, and what has come and was not taken."""
        self.end.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _fill(self, flags: int) -> None:
        # Not socket.recv_fds, which ignores its flags in Python 3.11.
        data, beside, _, _ = self.end.recvmsg(PIECE, socket.CMSG_SPACE(8 * INT), flags | CLOSE_ON_EXEC)
        for level, kind, descriptors in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._descriptors.extend(array.array("i", descriptors[: len(descriptors) // INT * INT]))
        self._read += data
        if not data:
            raise EOFError("the other end is closed")
