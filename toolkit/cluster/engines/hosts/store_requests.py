"""The store at which ranks of several hosts meet: a table in the kernel, asked over the lines of the hosts."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from toolkit.distributed.comm.relayed_store import pack_words, unpack_words


@dataclass(frozen=True, slots=True)
class _Waiting:
    who: Hashable
    keys: tuple[bytes, ...]
    wants_value: bool


@dataclass(slots=True)
class StoreRequests:
    """Answers requests of :class:`~toolkit.distributed.comm.relayed_store.RelayedStore`.

    Attributes:
        answer: Called with who asked and the bytes of the answer, at once or when a key has been written.

    Example:
        >>> store = StoreRequests(lambda who, answer: print(who, unpack_words(answer)))
        >>> store.ask("rank 0", pack_words([b"get", b"address"]))
        >>> store.ask("rank 1", pack_words([b"set", b"address", b"10.0.0.1"]))
        rank 1 [b'']
        rank 0 [b'10.0.0.1']
    """

    answer: Callable[[Hashable, bytes], None]
    _values: dict[bytes, bytes] = field(default_factory=dict)
    _waiting: list[_Waiting] = field(default_factory=list)

    def ask(self, who: Hashable, request: bytes) -> None:
        """Answer a request, now or later.

        Args:
            who: Whom to answer; it has one request at a time.
            request: Words: what to do, and with which keys and values.
        """
        word, *rest = unpack_words(request)
        if word in (b"get", b"wait"):
            self._waiting.append(_Waiting(who, tuple(rest), word == b"get"))
        else:
            self.answer(who, pack_words([self._do(word.decode(), rest)]))
        self._answer_waiting()

    def forget(self, who: Hashable) -> None:
        """Who has asked waits no longer."""
        self._waiting = [one for one in self._waiting if one.who != who]

    def clear(self) -> None:
        """Forget all keys and all who wait."""
        self._values.clear()
        self._waiting.clear()

    def _do(self, word: str, rest: list[bytes]) -> bytes:
        values = self._values
        if word == "set":
            values[rest[0]] = rest[1]
        elif word == "add":
            values[rest[0]] = str(int(values.get(rest[0], b"0")) + int(rest[1])).encode()
            return values[rest[0]]
        elif word == "compare_set":
            key, expected, wanted = rest
            # As torch's own stores: an empty expectation means that there is no such key yet.
            if values.get(key, b"") == expected:
                values[key] = wanted
            return values.get(key, expected)
        elif word == "check":
            return b"1" if all(key in values for key in rest) else b"0"
        elif word == "delete_key":
            return b"0" if values.pop(rest[0], None) is None else b"1"
        elif word == "num_keys":
            return str(len(values)).encode()
        return b""

    def _answer_waiting(self) -> None:
        still = []
        for one in self._waiting:
            if all(key in self._values for key in one.keys):
                self.answer(one.who, pack_words([self._values[one.keys[0]] if one.wants_value else b""]))
            else:
                still.append(one)
        self._waiting = still
