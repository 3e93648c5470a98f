"""A store at the other end of a Unix socket: an agent passes each request on to where the ranks of all hosts meet."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Sequence
from datetime import timedelta

from torch import distributed as dist
from torch.distributed import Store

COUNT = struct.Struct("!I")
LENGTH = struct.Struct("!Q")


class RelayedStore(Store):
    """torch's store, as a request and its answer over a socket.

    Each thread has a connection of its own: one that waits for a key keeps nobody else waiting.

    Args:
        path: The agent's socket.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._own = threading.local()
        self._limit = timedelta(seconds=300)

    def set_timeout(self, limit: timedelta) -> None:
        """How long :meth:`get` and :meth:`wait` wait for a key."""
        self._limit = limit

    def set(self, key: str, value: bytes | str) -> None:
        """Write a key."""
        self._ask("set", key, value)

    def get(self, key: str) -> bytes:
        """The value of a key, as soon as there is one."""
        return self._ask("get", key, limit=self._limit)

    def add(self, key: str, number: int) -> int:
        """Add to a key that is a number; returns the sum."""
        return int(self._ask("add", key, str(number)))

    def compare_set(self, key: str, expected: bytes | str, wanted: bytes | str) -> bytes:
        """Write a key if it has the expected value (empty: if there is none); returns what it then has."""
        return self._ask("compare_set", key, expected, wanted)

    def check(self, keys: Sequence[str]) -> bool:
        """Whether there are values for all keys."""
        return self._ask("check", *keys) == b"1"

    def wait(self, keys: Sequence[str], limit: timedelta | None = None) -> None:
        """Wait until there are values for all keys."""
        self._ask("wait", *keys, limit=limit or self._limit)

    def delete_key(self, key: str) -> bool:
        """Remove a key; returns whether there was one."""
        return self._ask("delete_key", key) == b"1"

    def num_keys(self) -> int:
        """Number of keys."""
        return int(self._ask("num_keys"))

    def _ask(self, *words: bytes | str, limit: timedelta | None = None) -> bytes:
        connection = self._connection()
        connection.settimeout(None if limit is None else max(limit.total_seconds(), 0.001))
        try:
            send_words(connection, [word.encode() if isinstance(word, str) else bytes(word) for word in words])
            return receive_words(connection)[0]
        except TimeoutError:
            self._forget()  # the answer may still come, and must not be taken for that to the next request
            raise dist.DistStoreError(f"{words[0]!r} of {words[1:]!r}: no answer within {limit}.") from None

    def _connection(self) -> socket.socket:
        found: socket.socket | None = getattr(self._own, "connection", None)
        if found is None:
            found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            found.connect(self._path)
            self._own.connection = found
        return found

    def _forget(self) -> None:
        self._own.connection.close()
        del self._own.connection


def pack_words(words: Sequence[bytes]) -> bytes:
    """Words as bytes that say where each ends.

    Example:
        >>> unpack_words(pack_words([b"get", b"key"]))
        [b'get', b'key']
    """
    body = b"".join(LENGTH.pack(len(word)) + word for word in words)
    return COUNT.pack(len(body)) + body


def unpack_words(data: bytes) -> list[bytes]:
    """The words of what :func:`pack_words` made."""
    words, at = [], COUNT.size
    while at < len(data):
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        words.append(data[at : at + length])
        at += length
    return words


def send_words(connection: socket.socket, words: Sequence[bytes]) -> None:
    """Send words over a stream socket."""
    connection.sendall(pack_words(words))


def receive_words(connection: socket.socket) -> list[bytes]:
    """Wait for words.

    Raises:
        ConnectionError: If the other end is closed.
    """
    head = _exactly(connection, COUNT.size)
    return unpack_words(head + _exactly(connection, COUNT.unpack(head)[0]))


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise ConnectionResetError("the agent has closed its end")
        data += piece
    return bytes(data)
