"""Channels and blocks: whole messages, shared memory that nobody can find, nothing left behind."""

from __future__ import annotations

import os
import resource
import stat
import threading
import time

import pytest
import torch

from toolkit.cluster.engines import block as blocks
from toolkit.cluster.engines.block import Block
from toolkit.cluster.engines.local.channel import Channel
from toolkit.cluster.engines.local.worker import KernelLine
from toolkit.cluster.engines.parcel import pack, unpack
from toolkit.errors import ToolkitError


@pytest.fixture
def ends():
    mine, theirs = Channel.pair()
    yield mine, theirs
    mine.close()
    theirs.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def shared_bytes() -> int:
    """Bytes of shared memory on this machine."""
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Shmem:"))


def test_messages_of_any_length_arrive_whole(ends):
    mine, theirs = ends
    sent = [("a", 1), ("long", "x" * 3_000_000), ("parcel", pack(torch.arange(5))), ("last",)]
    thread = threading.Thread(target=lambda: [mine.send(message) for message in sent])
    thread.start()
    got = [theirs.receive() for _ in sent]
    thread.join()
    assert got[:2] == sent[:2]
    assert torch.equal(unpack(got[2][1]), torch.arange(5))
    assert got[3] == ("last",)


def test_a_message_is_read_bit_by_bit_without_waiting(ends):
    """A worker that is stopped in the middle of a message must not keep the kernel waiting."""
    mine, theirs = ends
    theirs.fill()
    assert not theirs.complete
    mine.send(("word", 1))
    data = theirs.end.recv(1 << 16)
    for byte in data[:-1]:
        mine.end.send(bytes([byte]))
        theirs.fill()
        assert not theirs.complete
    mine.end.send(data[-1:])
    theirs.fill()
    assert theirs.take() == ("word", 1)


def test_an_end_that_does_not_read_is_given_up(ends, monkeypatch):
    monkeypatch.setattr("toolkit.cluster.engines.local.channel.SEND_LIMIT", 0.1)
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match="does not read"):
        ends[0].send("x" * 3_000_000)
    assert time.monotonic() - begin < 3


def test_a_kernel_that_is_busy_is_waited_for_and_one_that_is_gone_is_not(ends, monkeypatch):
    """64 ranks have more to tell than a kernel on two cores reads in 5 s: one of them took it for gone, and ended."""
    monkeypatch.setattr("toolkit.cluster.engines.local.channel.SEND_LIMIT", 0.1)
    gone = threading.Event()
    line = KernelLine(ends[0], gone.set)
    sends = threading.Thread(target=line.send, args=("x" * 3_000_000,))
    sends.start()
    sends.join(1.0)
    assert sends.is_alive()
    assert not gone.is_set()
    assert ends[1].receive() == ("x" * 3_000_000,)
    sends.join()
    sends = threading.Thread(target=line.send, args=("x" * 3_000_000,))
    sends.start()
    ends[1].close()
    sends.join(3.0)
    assert gone.is_set()


def test_messages_come_before_the_end_of_the_line(ends):
    mine, theirs = ends
    mine.send("last words")
    mine.close()
    assert theirs.receive() == "last words"
    with pytest.raises(EOFError, match="closed"):
        theirs.receive()


def test_what_is_not_received_leaves_nothing(ends):
    """A worker that was killed before it fetched its 100 MB left them, and a descriptor, until the kernel ended."""
    files, memory = open_files(), shared_bytes()
    mine, theirs = Channel.pair()
    mine.send(pack(torch.ones(25_000_000)))
    theirs.fill()
    mine.close()
    theirs.close()
    assert open_files() == files
    assert shared_bytes() < memory + 50_000_000


def test_a_tensor_that_is_kept_holds_no_descriptor(ends):
    files, kept = open_files(), []
    for _ in range(20):
        ends[0].send(pack(torch.ones(3)))
        kept.append(unpack(ends[1].receive()))
    assert open_files() == files
    assert all(torch.equal(tensor, torch.ones(3)) for tensor in kept)


def test_too_few_descriptors_are_said(ends):
    mine, theirs = ends
    mine.send(pack(1))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The limit is on numbers of descriptors, and a new one has the lowest that is free: there may be gaps below others.
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        with pytest.raises(ToolkitError, match="ulimit -n"):
            theirs.receive()
        with pytest.raises(ToolkitError, match="ulimit -n"):
            pack(2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    mine.send(pack(3))
    assert unpack(theirs.receive()) == 3


def test_no_room_is_said_plainly(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    5 kB\n")
    monkeypatch.setattr(blocks, "MEMORY", tmp_path / "meminfo")
    with pytest.raises(ToolkitError, match=r"1 MB of shared memory are not available: the machine has 0 MB to spare"):
        pack(torch.zeros(250_000))


def test_a_block_has_no_name_and_nobody_else_may_open_it():
    named = set(os.listdir("/dev/shm"))
    block = Block.of_size(10)
    assert set(os.listdir("/dev/shm")) == named
    assert os.readlink(f"/proc/self/fd/{block.descriptor}").startswith("/memfd:")
    assert stat.S_IMODE(os.stat("/proc/self/fd").st_mode) == 0o500


def test_a_write_is_seen_by_all_receivers(ends):
    ends[0].send(sent := pack(torch.zeros(4)))
    unpack(ends[1].receive()).add_(1)
    assert torch.equal(unpack(sent), torch.ones(4))
