"""The kernel's end of the lines: who is let in, who is missing, who has gone silent."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import pytest

import toolkit as tk
from toolkit.cluster.engines.engine_protocol import Ended
from toolkit.cluster.engines.hosts import switchboard
from toolkit.cluster.engines.hosts.handshake import WrongKey, introduce_agent, write_key
from toolkit.cluster.engines.hosts.host import About
from toolkit.cluster.engines.hosts.host_line import HostLine
from toolkit.cluster.engines.hosts.hosts_engine import HostsEngine
from toolkit.cluster.engines.packed import Packed
from toolkit.cluster.engines.setup import Setup
from toolkit.errors import PlanError, ToolkitError

KEY = b"k" * 32
SETUP = Setup(0, 2, "cpu", "gloo", 1, "onednn", True, None, 0, 60.0)


class Caller:
    """An agent of the test's own, which says what it is told to."""

    def __init__(self, address: tuple[str, int], key: bytes = KEY) -> None:
        end = socket.create_connection(address)
        try:
            introduce_agent(end, key)
        except BaseException:
            end.close()
            raise
        self.line = HostLine(end)
        self.heard: list = []

    def say(self, *words) -> None:
        self.line.put(*words)
        self.line.write()

    def pass_on(self, message, *words) -> None:
        self.line.pass_on(Packed.of(message), *words)
        self.line.write()

    def hear(self, word: str, seconds: float = 5.0) -> tuple:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.heard += [words for words, _ in self.line.read()]
            if found := [words for words in self.heard if words[0] == word]:
                return found[0]
            time.sleep(0.01)
        raise AssertionError(f"{word} was not said, only {self.heard}")


@pytest.fixture
def call(address):
    """Calls the kernel, as an agent with the right key or another one."""
    made: list[Caller] = []

    def caller(key: bytes = KEY) -> Caller:
        made.append(Caller(address, key))
        return made[-1]

    yield caller
    for one in made:
        one.line.close()


@pytest.fixture
def engine():
    made = HostsEngine(("127.0.0.1", 0), KEY, patience=0.5)
    made._open(2)
    yield made
    made.close()


@pytest.fixture
def address(engine):
    return engine._board.address


def begin(engine: HostsEngine) -> None:
    engine.begin([replace(SETUP, rank=rank) for rank in range(2)])
    while not engine.hosts:
        engine.wait(0.05)


def test_too_few_agents_are_named_with_what_to_do(engine, call):
    call().say("about", About.here(1, name="left"))
    with pytest.raises(ToolkitError, match=r"2 ranks: .* agents of left \(127\.0\.0\.1\) with 1\. Start on each host"):
        engine.gather(2)


def test_a_wrong_key_is_counted(engine, call, monkeypatch):
    monkeypatch.setattr(switchboard, "PENALTY", 0.1)
    for _ in range(2):
        with pytest.raises((WrongKey, OSError)):
            call(b"x" * 32)
    with pytest.raises(ToolkitError, match=r"of no host; refused: 2 x a wrong key, from 127\.0\.0\.1"):
        engine.gather(1)


def test_many_who_say_nothing_keep_nobody_out(engine, address, call):
    idle = [socket.create_connection(address) for _ in range(switchboard.AT_THE_DOOR - 1)]
    call().say("about", About.here(2))
    assert len(engine.gather(2)) == 1
    for one in idle:
        one.close()


def test_other_versions_are_refused_by_name(engine, call):
    agent = call()
    about = About.here(2, name="old")
    agent.say("about", replace(about, versions={**about.versions, "torch": "1.0"}))
    assert "it has torch 1.0 instead of" in agent.hear("refused")[1]
    with pytest.raises(ToolkitError, match=r"refused: 1 x old \(127\.0\.0\.1\): it has torch 1\.0 instead of"):
        engine.gather(1)


def test_agents_that_come_late_are_waited_for(engine, call):
    threading.Timer(0.2, lambda: call().say("about", About.here(2))).start()
    assert [host.slots for host in engine.gather(2)] == [2]


def test_ranks_messages_and_ends(engine, call):
    agent = call()
    agent.say("about", About.here(2))
    begin(engine)
    assert not engine.wait(0.0)
    assert [setup.rank for setup in agent.hear("begin")[1]] == [0, 1]
    agent.say("started", [70, 71], None)
    while not engine.wait(0.1):
        pass
    assert engine.pids == [70, 71]
    agent.pass_on(("up", 70), "heard", 0)
    agent.pass_on(None, "ended", 1, Ended(-9))
    found = set()
    while found != {0, 1}:
        found |= set(engine.ready([0, 1], 1.0))
    assert engine.take(0) == ("up", 70)
    assert engine.take(0) is None
    assert engine.ended(0) is None
    assert engine.ended(1).exitcode == -9
    agent.say("states", {0: "stopped by a signal"})
    while not engine.is_stopped(0):
        time.sleep(0.01)


def test_ranks_that_could_not_be_started_are_named_with_their_host(engine, call):
    agent = call()
    agent.say("about", About.here(2, name="left"))
    begin(engine)
    agent.hear("begin")
    agent.say("started", [], "OSError: Too many open files")
    while not engine.wait(0.1):
        pass
    assert str(engine.error) == "left (127.0.0.1): OSError: Too many open files"


def test_an_agent_that_says_nothing_is_lost_with_its_ranks(engine, call, monkeypatch):
    monkeypatch.setattr(switchboard, "LOST_AFTER", 0.6)
    monkeypatch.setattr(switchboard, "PING_EVERY", 0.1)
    agent = call()
    agent.say("about", About.here(2, name="left"))
    begin(engine)
    agent.say("started", [70, 71], None)
    while not engine.wait(0.1):
        pass
    while not engine.ready([0, 1], 0.1):
        pass
    assert engine.ended(0).cause == "its host left (127.0.0.1) is lost: its agent has said nothing for 1 s"


def test_a_taken_address_and_values_that_cannot_be(address, tmp_path):
    with pytest.raises(ToolkitError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use"):
        HostsEngine(address, KEY, patience=1.0).gather(1)
    with pytest.raises(ToolkitError, match=r"address '10\.0\.0\.1': must be HOST:PORT"):
        tk.engines.Hosts("10.0.0.1", tmp_path / "key")
    with pytest.raises(PlanError, match="patience=0: must be above 0"):
        tk.engines.Hosts("10.0.0.1:7000", tmp_path / "key", patience=0)
    with pytest.raises(ToolkitError, match="--new-key"):
        tk.Cluster(2, engine=tk.engines.Hosts("127.0.0.1:0", tmp_path / "key"))
    with pytest.raises(PlanError, match="start='spawn' with engine=Hosts"):
        tk.Cluster(2, engine=tk.engines.Hosts("127.0.0.1:0", write_key(tmp_path / "key")), start="spawn")
    with pytest.raises(PlanError, match="Ray Client"):
        tk.engines.Ray("ray://10.0.0.1:10001")
