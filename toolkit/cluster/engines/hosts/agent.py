"""The agent of a host: whoever started it there, it calls the kernel, and runs that host's ranks for it.

                      line, TCP with a key                  channels, Unix sockets
    kernel  <------------------------------------>  agent  <---------------------->  ranks of this host
                                                      ^----- their store's requests -----'

A rank is a process of the local engine, and does not know that the kernel is elsewhere. Messages between the two pass
through the agent as they are: it unpickles none of them.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import connection
from threading import Event
from typing import Any

from toolkit.cluster.engines.hosts.host_line import HostLine
from toolkit.cluster.engines.local.local_engine import LocalEngine
from toolkit.cluster.engines.local.private_folder import private_folder
from toolkit.cluster.engines.packed import Packed
from toolkit.cluster.engines.setup import Setup
from toolkit.distributed.comm.interfaces import interface_of
from toolkit.distributed.comm.meeting import Meeting
from toolkit.distributed.comm.relayed_store import COUNT
from toolkit.errors import ToolkitError

REPORT_EVERY = 1.0
"""Seconds between two reports of how the ranks' processes are, which also show that this host is there."""

TURN = 0.05
"""Seconds between two looks at processes that are starting."""

AT_ONCE = 100
"""Messages of one rank that are passed on before the other ranks have their turn."""

BEHIND = 64 << 20
"""Bytes that may wait for the line before ranks that send more are made to wait."""


class Agent:
    """Serves one kernel until it says goodbye, or the line to it is lost; then no process is left here.

    Args:
        line: The line to the kernel, which has proved itself.
        ending: Set, from a signal's handler for instance, where the agent is to end.
    """

    def __init__(self, line: HostLine, ending: Event) -> None:
        self._line, self._ending = line, ending
        self._engine = LocalEngine("forkserver")
        self._folder = private_folder(self)
        self._desk = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._desk.bind(str(self._folder / "store"))
        self._desk.listen(1024)
        self._askers: dict[int, _Asker] = {}
        self._asked = 0
        self._ranks: list[int] = []
        self._alive: list[int] = []
        self._starting = self._leaving = False
        self._more = False
        self._reported = 0.0

    def serve(self) -> None:
        """Pass messages on until the kernel says goodbye, or the agent is to end.

        Raises:
            OSError, EOFError: If the line is lost.
        """
        try:
            while not self._leaving and not self._ending.is_set():
                self._wait()
                if self._starting:
                    self._look_whether_started()
                for words, packed in self._line.read():
                    self._obey(words, packed)
                if self._line.bytes_unsent < BEHIND:
                    self._listen_to_ranks()
                self._listen_to_askers()
                self._report()
                self._line.write()
        finally:
            self._engine.end(0.0)
            self._desk.close()
            for asker in self._askers.values():
                asker.end.close()

    def _wait(self) -> None:
        """Wait until there may be something to do."""
        waited: list[Any] = [self._desk, *(asker.end for asker in self._askers.values())]
        if self._line.bytes_unsent < BEHIND and not self._starting:
            waited += self._engine.handles(self._places(self._alive))
        poll = select.poll()
        for one in waited:
            poll.register(one, select.POLLIN)
        poll.register(self._line, select.POLLIN | (select.POLLOUT if self._line.unsent else 0))
        seconds = 0.0 if self._more else TURN if self._starting else REPORT_EVERY
        poll.poll(seconds * 1000)

    def _places(self, ranks: Sequence[int]) -> list[int]:
        """The places on this host of some ranks: what the local engine takes for ranks."""
        return [self._ranks.index(rank) for rank in ranks]

    def _obey(self, words: tuple[Any, ...], packed: Packed | None) -> None:
        word, *rest = words
        if word == "pass on" and packed is not None:
            for place in self._places([rank for rank in rest[0] if rank in self._alive]):
                self._engine.pass_on(place, packed)
        else:
            does: dict[str, Callable[..., None]] = {
                "begin": self._begin,
                "joined": self._engine.joined,
                "watch": self._engine.watch,
                "answer": self._answer,
                "no room": self._no_room,
                "ping": lambda asked: self._line.put("pong", asked, time.monotonic()),
                "end": self._end,
                "leave": self._leave,
                "refused": self._refused,
            }
            does[word](*rest)

    def _answer(self, number: int, data: bytes) -> None:
        if number in self._askers:
            self._askers[number].answer(data)

    def _no_room(self, words: tuple[Any, ...], why: str) -> None:
        """What was to be passed on does not fit into this host's memory: let its ranks fail in its place."""
        failed = Packed.of(("failed", f"ToolkitError: {why}", f"in the agent: {why}"))
        for rank in words[1]:
            self._line.pass_on(failed, "heard", rank)

    def _end(self, grace: float) -> None:
        self._engine.end(grace)
        self._ranks, self._alive, self._starting = [], [], False
        self._line.put("all ended")

    def _leave(self) -> None:
        self._leaving = True

    def _refused(self, why: str) -> None:
        raise ToolkitError(f"the kernel has refused this host: {why}.")

    def _begin(self, setups: Sequence[Setup], interface: str | None) -> None:
        """Start this host's ranks.

        Args:
            setups: Their set-ups.
            interface: The interface over which ranks reach each other; None: the one of the line to the kernel.
        """
        if interface is None:
            interface = interface_of(self._line.here)
        meeting = Meeting(str(self._folder / "store"), relayed=True, interface=interface)
        here = [replace(setup, meeting=meeting, place=place) for place, setup in enumerate(setups)]
        self._ranks = [setup.rank for setup in setups]
        self._alive, self._starting = [], True
        self._engine.begin(here)

    def _look_whether_started(self) -> None:
        if self._engine.wait(0.0):
            self._starting = False
            error = self._engine.error
            if error is None:
                self._alive = list(self._ranks)
            self._line.put("started", self._engine.pids, None if error is None else f"{type(error).__name__}: {error}")

    def _listen_to_ranks(self) -> None:
        self._more = False
        for rank in list(self._alive):
            place = self._ranks.index(rank)
            for _ in range(AT_ONCE):
                if (packed := self._engine.take_packed(place)) is None:
                    break
                self._line.pass_on(packed, "heard", rank)
            else:
                self._more = True
                continue
            if (ended := self._engine.ended(place)) is not None:
                self._alive.remove(rank)
                self._line.pass_on(Packed.of(None), "ended", rank, ended)  # behind the rank's last messages

    def _listen_to_askers(self) -> None:
        if connection.wait([self._desk], 0.0):
            end, _ = self._desk.accept()
            self._asked += 1
            self._askers[self._asked] = _Asker(end)
        numbers: dict[Any, int] = {asker.end: number for number, asker in self._askers.items()}
        for asking in connection.wait(list(numbers), 0.0):
            number = numbers[asking]
            try:
                for request in self._askers[number].read():
                    self._line.put("ask", number, request)
            except (EOFError, OSError):
                self._askers.pop(number).end.close()
                self._line.put("asks no more", number)

    def _report(self) -> None:
        if time.monotonic() - self._reported >= REPORT_EVERY:
            self._reported = time.monotonic()
            self._line.put("states", {rank: self._engine.state(self._ranks.index(rank)) for rank in self._alive})


class _Asker:
    """A thread of a rank that asks the store: one request at a time."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._read = bytearray()

    def read(self) -> list[bytes]:
        """The requests that have come in full."""
        data = self.end.recv(1 << 16)
        if not data:
            raise EOFError
        self._read += data
        found = []
        while len(self._read) >= COUNT.size:
            size = COUNT.size + COUNT.unpack_from(self._read)[0]
            if len(self._read) < size:
                break
            found.append(bytes(self._read[:size]))
            del self._read[:size]
        return found

    def answer(self, data: bytes) -> None:
        with suppress(OSError):
            self.end.sendall(data)
