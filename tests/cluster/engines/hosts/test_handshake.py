"""Both ends of a line prove that they have the key, before either believes the other."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from toolkit.cluster.engines.hosts import handshake
from toolkit.cluster.engines.hosts.handshake import MAGIC, WrongKey, introduce_agent, read_key, welcome, write_key
from toolkit.errors import ToolkitError


def meet(kernel, agent) -> list[BaseException | None]:
    """What becomes of both ends."""
    mine, theirs = socket.socketpair()
    raised: list[BaseException | None] = [None, None]

    def side(place: int, does, end: socket.socket) -> None:
        with end:
            try:
                does(end)
            except (ToolkitError, OSError, EOFError) as error:
                raised[place] = error

    threads = [threading.Thread(target=side, args=one) for one in ((0, kernel, mine), (1, agent, theirs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return raised


def test_the_same_key():
    assert meet(lambda end: welcome(end, b"k" * 16), lambda end: introduce_agent(end, b"k" * 16)) == [None, None]


def test_another_key_is_refused_at_both_ends():
    kernel, agent = meet(lambda end: welcome(end, b"k" * 16), lambda end: introduce_agent(end, b"x" * 16))
    assert isinstance(kernel, WrongKey)
    assert isinstance(agent, WrongKey)


def test_a_kernel_without_the_key_is_refused():
    """It would be sent this host's ranks, and send them code."""

    def pretends(end: socket.socket) -> None:
        end.sendall(MAGIC + b"0" * 32)
        end.recv(64)
        end.sendall(b"1" * 32)

    _, agent = meet(pretends, lambda end: introduce_agent(end, b"k" * 16))
    assert isinstance(agent, WrongKey)


def test_an_agents_own_proof_sent_back_to_it_proves_nothing():
    def reflects(end: socket.socket) -> None:
        end.sendall(MAGIC + b"0" * 32)
        end.sendall(handshake.exactly(end, 64)[32:])

    _, agent = meet(reflects, lambda end: introduce_agent(end, b"k" * 16))
    assert isinstance(agent, WrongKey)


def test_who_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(handshake, "LIMIT", 0.2)
    kernel, _ = meet(lambda end: welcome(end, b"k" * 16), lambda end: threading.Event().wait(0.6))
    assert isinstance(kernel, TimeoutError)


def test_a_key_file_is_for_its_owner_alone(tmp_path):
    path = write_key(tmp_path / "key")
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert len(read_key(path)) == 64
    with pytest.raises(ToolkitError, match="File exists"):
        write_key(path)
    path.chmod(0o640)
    with pytest.raises(ToolkitError, match=r"other users can read it. `chmod 600"):
        read_key(path)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(ToolkitError, match="5 bytes; a key has at least 16"):
        read_key(path)
    with pytest.raises(ToolkitError, match="--new-key"):
        read_key(tmp_path / "none")
