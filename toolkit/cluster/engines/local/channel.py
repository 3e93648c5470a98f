"""Channels: messages between the kernel and one worker, with shared memory handed over beside them.

Descriptors of shared memory travel with the message itself. One that is not received is closed by the system together
with the socket, so a worker that dies on the way leaves nothing behind.
"""

from __future__ import annotations

import array
import io
import os
import pickle
import select
import socket
import struct
from collections import deque
from typing import Any

from toolkit.cluster.engines.block import Block
from toolkit.errors import ToolkitError

HEAD = struct.Struct("!QB")
"""What precedes a message: its length, and the number of its blocks."""

PIECE = 1 << 18
"""Bytes that are read at once."""

INT = array.array("i").itemsize
CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

SEND_LIMIT = 5.0
"""Seconds that the other end has to make room for a message. Messages are small: their tensors lie in blocks."""


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

    def send(self, message: Any) -> None:
        """Send a message.

        Raises:
            OSError: If the other end is closed, or made no room within :data:`SEND_LIMIT`.
        """
        stream = io.BytesIO()
        pickler = _Pickler(stream)
        pickler.dump(message)
        data = memoryview(HEAD.pack(stream.tell(), len(pickler.blocks)) + stream.getvalue())
        descriptors = array.array("i", [block.descriptor for block in pickler.blocks])
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)] if descriptors else []
        while data:
            try:
                sent = self.end.sendmsg([data], beside, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not select.select([], [self.end], [], SEND_LIMIT)[1]:
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
        return len(self._read) >= HEAD.size and len(self._read) - HEAD.size >= HEAD.unpack_from(self._read)[0]

    def take(self) -> Any:
        """The first message that has been read; only if one is :attr:`complete`."""
        length, count = HEAD.unpack_from(self._read)
        data = bytes(self._read[HEAD.size : HEAD.size + length])
        del self._read[: HEAD.size + length]
        if count > len(self._descriptors):
            raise ToolkitError(
                "a message's shared memory was lost, because this process has as many files open as it may: raise "
                "`ulimit -n`, or keep fewer clusters and runs."
            )
        return _Unpickler(data, [self._descriptors.popleft() for _ in range(count)]).load()

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


class _Pickler(pickle.Pickler):
    """Leaves out blocks, which travel as descriptors."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, pickle.HIGHEST_PROTOCOL)
        self.blocks: list[Block] = []

    def persistent_id(self, obj: Any) -> tuple[int, int] | None:
        if not isinstance(obj, Block):
            return None
        self.blocks.append(obj)
        return len(self.blocks) - 1, obj.nbytes


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, descriptors: list[int]) -> None:
        super().__init__(io.BytesIO(data))
        self._descriptors = descriptors

    def persistent_load(self, place: Any) -> Block:
        index, nbytes = place
        return Block(self._descriptors[index], nbytes)
