"""The switchboard: a thread of the kernel that welcomes agents, keeps their lines moving, and sorts what comes."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from toolkit.cluster.engines.hosts.encrypted import Encrypted
from toolkit.cluster.engines.hosts.handshake import LIMIT, WrongKey, welcome
from toolkit.cluster.engines.hosts.host import Host, versions
from toolkit.cluster.engines.hosts.host_line import LOST_AFTER, HostLine
from toolkit.cluster.engines.hosts.store_requests import StoreRequests
from toolkit.cluster.engines.packed import Packed
from toolkit.errors import ToolkitError

PING_EVERY = 1.0
"""Seconds between two questions to every agent."""

AT_THE_DOOR = 16
"""Handshakes that go on at once; further callers wait."""

PENALTY = 1.0
"""Seconds that who has a wrong key is kept, so that keys cannot be tried quickly."""


class Switchboard:
    """Lines to agents, on one address of this machine.

    Args:
        address: Where to listen, and nowhere else; port 0: any that is free.
        key: What agents prove to have.
        tls: The certificate that this process shows; None: the lines are in the clear.

    Raises:
        ToolkitError: If the address is not this machine's, or taken.

    Attributes:
        changed: Held by whoever reads or changes what is here; notified when something has come.
        hosts: The hosts whose agents have introduced themselves.
        refused: How often callers were refused, by the reason.
        address: Where it listens.
    """

    def __init__(self, address: tuple[str, int], key: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._key, self._tls = key, tls
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._desk = socket.socket(family, socket.SOCK_STREAM)
        self._desk.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._desk.bind(address)
        except OSError as error:
            self._desk.close()
            raise ToolkitError(f"cannot listen on {address[0]}:{address[1]}: {error.strerror}.") from error
        self._desk.listen(128)
        self.address: tuple[str, int] = self._desk.getsockname()[:2]
        self.changed = threading.Condition()
        self.hosts: list[Host] = []
        self.refused: Counter[str] = Counter()
        self.store = StoreRequests(self._answer)
        self._callers: list[Host] = []
        self._at_the_door = 0
        self._bell, self._rope = socket.socketpair()
        self._closing = False
        self._looked = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="toolkit-switchboard", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Let the thread look at what was put on the lines."""
        with suppress(OSError):
            self._rope.send(b"!", socket.MSG_DONTWAIT)

    def drop(self, host: Host, why: str) -> None:
        """Give a host up; the caller holds :attr:`changed`."""
        self.hosts = [one for one in self.hosts if one is not host]
        self._callers = [one for one in self._callers if one is not host]
        host.lose(why)
        host.line.close()
        self.changed.notify_all()

    def close(self) -> None:
        """Say goodbye to all agents, and listen no more."""
        with self.changed:
            self._closing = True
            for host in self.hosts:
                host.line.put("leave")
        self.wake()
        self._thread.join(LOST_AFTER)

    def _run(self) -> None:
        asked = 0.0
        try:
            while True:
                self._wait()
                with self.changed:
                    if time.monotonic() - asked > PING_EVERY:
                        asked = time.monotonic()
                        self._ask_all()
                    for host in [*self.hosts, *self._callers]:
                        self._serve(host)
                    if self._closing and not any(host.line.unsent for host in self.hosts):
                        return
        finally:
            with self.changed:
                for host in [*self.hosts, *self._callers]:
                    self.drop(host, "the cluster was closed")
                self.changed.notify_all()
            for end in (self._desk, self._bell, self._rope):
                end.close()

    def _wait(self) -> None:
        poll = select.poll()
        with self.changed:
            for host in [*self.hosts, *self._callers]:
                poll.register(host.line, select.POLLIN | (select.POLLOUT if host.line.unsent else 0))
            if self._at_the_door < AT_THE_DOOR:
                poll.register(self._desk, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        found = {descriptor for descriptor, _ in poll.poll(PING_EVERY * 1000)}
        if self._bell.fileno() in found:
            self._bell.recv(1 << 12)
        if self._desk.fileno() in found:
            end, _ = self._desk.accept()
            with self.changed:
                self._at_the_door += 1
            threading.Thread(target=self._welcome, args=(end,), name="toolkit-door", daemon=True).start()

    def _welcome(self, end: socket.socket) -> None:
        """Let an agent prove itself; a thread of its own, so that a caller who says nothing keeps nobody waiting."""
        try:
            end.settimeout(LIMIT)
            line = end if self._tls is None else Encrypted(end, self._tls, server=True)
            welcome(line, self._key)
            with self.changed:
                self._callers.append(Host(HostLine(line)))
        except (OSError, EOFError, WrongKey) as error:
            why = "a wrong key" if isinstance(error, WrongKey) else "no proof of the key"
            with self.changed:
                self.refused[f"{why}, from {_address(end)}"] += 1
            time.sleep(PENALTY)
            end.close()
        finally:
            with self.changed:
                self._at_the_door -= 1
            self.wake()

    def _ask_all(self) -> None:
        """Ask all agents whether they are there, and give up those that have not been heard of for too long."""
        now = time.monotonic()
        # A pause of this process, as by Ctrl-Z, counts as no time.
        paused = max(0.0, now - self._looked - 2 * PING_EVERY)
        self._looked = now
        for host in [*self.hosts, *self._callers]:
            host.heard_at += paused
            if now - host.heard_at > LOST_AFTER:
                self.drop(host, f"its agent has said nothing for {LOST_AFTER:.0f} s")
            else:
                host.line.put("ping", now)

    def _serve(self, host: Host) -> None:
        try:
            for words, packed in host.line.read():
                host.heard_at = time.monotonic()
                self._sort(host, words, packed)
                self.changed.notify_all()
            host.line.write()
        except (EOFError, OSError) as error:
            self.drop(host, f"the line to its agent broke ({error})")

    def _sort(self, host: Host, words: tuple[Any, ...], packed: Packed | None) -> None:
        word, *rest = words
        if word == "about":
            self._introduce(host, rest[0])
        elif word == "heard" and packed is not None and rest[0] in host.messages:
            host.messages[rest[0]].append(packed)
        elif word == "no room":
            (_, rank), why = rest
            host.messages[rank].append(Packed.of(("failed", f"ToolkitError: {why}", f"in the kernel: {why}")))
        elif word == "ended" and rest[0] in host.messages:
            host.ended.setdefault(*rest)
        elif word == "started":
            (host.pids, host.error), host.started = rest, True
        elif word == "all ended":
            host.resting = True
        elif word == "pong":
            host.clock.note(asked=rest[0], told=rest[1], heard=time.monotonic())
        elif word == "states":
            host.states = rest[0]
        elif word == "ask":
            self.store.ask((host, rest[0]), rest[1])
        elif word == "asks no more":
            self.store.forget((host, rest[0]))

    def _introduce(self, host: Host, about: Any) -> None:
        host.about = about
        self._callers.remove(host)
        theirs, ours = about.versions, versions()
        if different := [f"{name} {theirs.get(name)} instead of {ours[name]}" for name in ours
                         if theirs.get(name) != ours[name]]:  # fmt: skip
            why = f"it has {', '.join(different)}"
            self.refused[f"{host.name}: {why}"] += 1
            host.line.put("refused", f"{why}: install the same versions on every host")
            host.line.write()
            host.line.close()
        else:
            self.hosts.append(host)

    def _answer(self, who: Any, data: bytes) -> None:
        host, number = who
        host.line.put("answer", number, data)


def _address(end: socket.socket) -> str:
    try:
        return str(end.getpeername()[0])
    except OSError:
        return "somebody who hung up"
