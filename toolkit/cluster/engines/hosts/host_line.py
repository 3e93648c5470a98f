"""Lines between the kernel and an agent: messages over TCP, large ones in pieces, urgent ones between the pieces."""

from __future__ import annotations

import pickle
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any

from toolkit.cluster.engines.block import Block
from toolkit.cluster.engines.hosts.encrypted import Encrypted
from toolkit.cluster.engines.packed import Packed
from toolkit.errors import ToolkitError

HEAD = struct.Struct("!BQ")
"""What precedes a frame: its kind and its length."""

WORDS, PIECE_OF_BLOCK, GIVEN_UP = range(3)
"""Kinds of frame: a message; the next bytes of the last message's blocks; no more of them will come."""

PIECE = 1 << 20
"""Bytes of a block in one frame: the longest that an urgent message waits, over a slow link well below a second."""

READ = 1 << 18
"""Bytes that are read at once."""

LOST_AFTER = 5.0
"""Seconds after which the other machine, or the link to it, is given up."""

_OPTIONS = {
    "SO_KEEPALIVE": (socket.SOL_SOCKET, 1),
    "TCP_NODELAY": (socket.IPPROTO_TCP, 1),
    "TCP_KEEPIDLE": (socket.IPPROTO_TCP, 2),
    "TCP_KEEPINTVL": (socket.IPPROTO_TCP, 1),
    "TCP_KEEPCNT": (socket.IPPROTO_TCP, 3),
    "TCP_USER_TIMEOUT": (socket.IPPROTO_TCP, int(LOST_AFTER * 1000)),
}
"""A machine that vanished sends nothing, not even that it did: the system asks it, and gives it up. As far as there
are such options here."""

Message = tuple[tuple[Any, ...], Packed | None]
"""Words between an agent and the kernel, and what they pass on between a worker and the kernel."""


class HostLine:
    """One end of a line. It never waits: whoever owns it does, for :meth:`read` and, if :attr:`unsent`, :meth:`write`.

    Args:
        end: A connected TCP socket whose other end is known to be the right one: its messages are unpickled.

    Attributes:
        here: The address of this end.
        there: The address of the other one.
        received: Bytes that have come.
        sent: Bytes that have been written.
        bytes_unsent: Bytes of passed-on messages that have not been written yet.
    """

    def __init__(self, end: socket.socket | Encrypted) -> None:
        self.end = end
        self.here, self.there = str(end.getsockname()[0]), str(end.getpeername()[0])
        self.received = self.sent = self.bytes_unsent = 0
        end.setblocking(False)
        for name, (level, value) in _OPTIONS.items():
            if hasattr(socket, name):
                end.setsockopt(level, getattr(socket, name), value)
        self._urgent: deque[bytes] = deque()
        self._pieces: deque[tuple[bytes, memoryview]] = deque()
        self._sending: list[memoryview] = []
        self._read = bytearray()
        self._coming: _Coming | None = None

    def fileno(self) -> int:
        """The socket's descriptor, to wait for it."""
        return self.end.fileno()

    @property
    def unsent(self) -> bool:
        """Whether there is something to write."""
        encrypted = isinstance(self.end, Encrypted) and self.end.unsent
        return bool(self._sending or self._urgent or self._pieces or encrypted)

    def put(self, *words: Any) -> None:
        """Queue a message that passes everything on the way that :meth:`pass_on` has put there."""
        self._urgent.append(_framed(WORDS, pickle.dumps((words, None, ()), pickle.HIGHEST_PROTOCOL)))

    def pass_on(self, packed: Packed, *words: Any) -> None:
        """Queue words, and a worker's or the kernel's message with its blocks; such messages keep their order."""
        sizes = [block.nbytes for block in packed.blocks]
        frame = _framed(WORDS, pickle.dumps((words, packed.data, sizes), pickle.HIGHEST_PROTOCOL))
        self._queue(frame, memoryview(b""))
        for block in packed.blocks:
            whole = _bytes_of(block)
            for start in range(0, block.nbytes, PIECE):
                piece = whole[start : start + PIECE]
                self._queue(HEAD.pack(PIECE_OF_BLOCK, len(piece)), piece)

    def _queue(self, frame: bytes, piece: memoryview) -> None:
        self._pieces.append((frame, piece))
        self.bytes_unsent += len(frame) + len(piece)

    def give_up(self) -> None:
        """Drop what is queued by :meth:`pass_on`, and let the other end drop what it has of an unfinished message."""
        self._pieces.clear()
        self.bytes_unsent = 0
        self._urgent.append(_framed(GIVEN_UP, b""))

    def write(self) -> None:
        """Write what the socket takes now.

        Raises:
            OSError: If the line is broken.
        """
        while self.unsent:
            if not self._sending and (self._urgent or self._pieces):
                self._sending = self._next()
            try:
                sent = self.end.sendmsg(self._sending)
            except BlockingIOError:
                return
            self.sent += sent
            while self._sending and sent >= len(self._sending[0]):
                sent -= len(self._sending.pop(0))
            if sent:
                self._sending[0] = self._sending[0][sent:]

    def _next(self) -> list[memoryview]:
        if self._urgent:
            return [memoryview(self._urgent.popleft())]
        frame, piece = self._pieces.popleft()
        self.bytes_unsent -= len(frame) + len(piece)
        return [memoryview(frame), piece] if piece else [memoryview(frame)]

    def read(self) -> list[Message]:
        """Read what has come; returns the messages that are complete.

        Raises:
            EOFError: If the other end is closed.
            OSError: If the line is broken.
        """
        found: list[Message] = []
        try:
            data = self.end.recv(READ)
            while data and isinstance(self.end, Encrypted):
                # What has been decrypted and not read, no poll tells of.
                self._read += data
                self.received += len(data)
                data = self.end.recv(READ)
        except BlockingIOError:
            data = None
        if data == b"":
            raise EOFError("the other end is closed")
        self.received += len(data or b"")
        self._read += data or b""
        while (frame := self._frame()) is not None:
            if (message := self._take(*frame)) is not None:
                found.append(message)
        return found

    def close(self) -> None:
        """Close this end."""
        self.end.close()

    def _frame(self) -> tuple[int, bytes] | None:
        if len(self._read) < HEAD.size:
            return None
        kind, length = HEAD.unpack_from(self._read)
        if len(self._read) < HEAD.size + length:
            return None
        body = bytes(self._read[HEAD.size : HEAD.size + length])
        del self._read[: HEAD.size + length]
        return kind, body

    def _take(self, kind: int, body: bytes) -> Message | None:
        if kind == GIVEN_UP:
            self._coming = None
        elif kind == PIECE_OF_BLOCK and self._coming is not None:
            self._coming.fill(body)
        elif kind == WORDS:
            words, data, sizes = pickle.loads(body)
            if data is None:
                return words, None
            self._coming = _Coming(words, data, sizes)
        if self._coming is None or not self._coming.complete:
            return None
        coming, self._coming = self._coming, None
        return coming.message()


class _Coming:
    """A message whose blocks are on their way."""

    def __init__(self, words: tuple[Any, ...], data: bytes, sizes: Sequence[int]) -> None:
        self._words, self._data, self._left = words, data, sum(sizes)
        self._blocks: list[Block] = []
        self._error: ToolkitError | None = None
        self._block = self._at = 0
        try:
            self._blocks = [Block.of_size(size) for size in sizes]
        except ToolkitError as error:
            self._error = error  # what comes is read all the same, and thrown away

    @property
    def complete(self) -> bool:
        return self._left == 0

    def fill(self, data: bytes) -> None:
        self._left -= len(data)
        if self._error is not None:
            return
        while self._at == self._blocks[self._block].nbytes:
            self._block, self._at = self._block + 1, 0
        _bytes_of(self._blocks[self._block])[self._at : self._at + len(data)] = data
        self._at += len(data)

    def message(self) -> Message:
        if self._error is not None:
            return ("no room", self._words, str(self._error)), None
        return self._words, Packed(self._data, self._blocks)


def _bytes_of(block: Block) -> memoryview:
    return memoryview(block.tensor.numpy())  # type: ignore[arg-type]


def _framed(kind: int, body: bytes) -> bytes:
    return HEAD.pack(kind, len(body)) + body
