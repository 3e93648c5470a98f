"""Two hosts on one machine: network namespaces joined by a pair of virtual cards, without a loopback in common."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import toolkit as tk
from toolkit.cluster.engines.hosts.handshake import write_key

CLONE_NEWNET = 0x40000000
_COUNT = itertools.count()
LIBC = ctypes.CDLL(None, use_errno=True)

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="network namespaces need root, and `ip` of the package iproute2",
)


@dataclass(frozen=True)
class TwoHosts:
    """Two namespaces, a and b.

    Attributes:
        names: Their names.
        addresses: Their addresses on the link between them.
        cards: Their ends of the link.
    """

    names: tuple[str, str]
    addresses: tuple[str, str]
    cards: tuple[str, str]

    def start(self, host: int, *command: str, **options) -> subprocess.Popen:
        """Start a process on a host."""
        return subprocess.Popen(["ip", "netns", "exec", self.names[host], *command], text=True, **options)

    def python(self, host: int, *arguments: str, **options) -> subprocess.Popen:
        """Start Python on a host."""
        return self.start(host, sys.executable, *arguments, **options)

    @contextmanager
    def on(self, host: int) -> Iterator[None]:
        """Be on a host, with this thread and all that it starts."""
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{self.names[host]}") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def link(self, host: int, *, up: bool) -> None:
        """Take one end of the link up or down."""
        state = "up" if up else "down"
        run("ip", "-n", self.names[host], "link", "set", self.cards[host], state)

    def sent(self, host: int) -> int:
        """Bytes that a host has sent over the link, headers included."""
        path = f"/sys/class/net/{self.cards[host]}/statistics/tx_bytes"
        return int(run("ip", "netns", "exec", self.names[host], "cat", path))

    def listeners(self, host: int) -> list[str]:
        """What listens on a host, as ``address:port``."""
        lines = run("ip", "netns", "exec", self.names[host], "ss", "-lntH").splitlines()
        return [line.split()[3] for line in lines]


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _enter(namespace: int) -> None:
    if LIBC.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Make two hosts, and remove them."""
    place = next(_COUNT)
    number = (os.getpid() + 4096 * place) % (1 << 14)
    names, cards = (f"toolkit-a-{number}", f"toolkit-b-{number}"), (f"tka{number}", f"tkb{number}")
    net = f"10.77.{number % 256}"
    addresses = (f"{net}.1", f"{net}.2")
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "add", cards[0], "netns", names[0], "type", "veth", "peer", cards[1], "netns", names[1])
        for name, card, address in zip(names, cards, addresses, strict=True):
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", card)
            run("ip", "-n", name, "link", "set", card, "up")
        yield TwoHosts(names, addresses, cards)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def new_key(folder: Path) -> Path:
    """A key file."""
    return write_key(folder / "toolkit.key")


class Agents:
    """The agents of a test module, by host."""

    def __init__(self, hosts, key, port: int) -> None:
        self._hosts, self._key = hosts, key
        self.address = f"{hosts.addresses[0]}:{port}"
        self.running: dict[int, subprocess.Popen] = {}

    def start(self, host: int, *, slots: int = 2, key=None) -> subprocess.Popen:
        words = ("-m", "toolkit", "agent", self.address, "--key-file", str(key or self._key), "--slots", str(slots))
        # What tests pickle by name is imported there, too.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.running[host] = self._hosts.python(
            host, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
        return self.running[host]

    def end(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.communicate(timeout=20)

    @property
    def engine(self) -> tk.engines.Hosts:
        return tk.engines.Hosts(self.address, self._key, patience=60.0)
