"""A line between two machines: order, pieces, what passes them, and what is given up."""

from __future__ import annotations

import socket

import pytest
import torch

from toolkit.cluster.engines import block
from toolkit.cluster.engines.hosts.host_line import PIECE, HostLine
from toolkit.cluster.engines.packed import Packed
from toolkit.cluster.engines.parcel import pack, unpack


@pytest.fixture
def ends():
    with socket.create_server(("127.0.0.1", 0)) as desk:
        mine = socket.create_connection(desk.getsockname())
        theirs, _ = desk.accept()
    lines = HostLine(mine), HostLine(theirs)
    yield lines
    for line in lines:
        line.close()


def heard(sender: HostLine, receiver: HostLine, count: int) -> list:
    found = []
    for _ in range(100_000):
        sender.write()
        found += receiver.read()
        if len(found) >= count:
            return found
    raise AssertionError(f"{len(found)} of {count} messages came")


def values(messages: list) -> list:
    return [(*words, unpack(packed.load()) if packed is not None else None) for words, packed in messages]


def parcel(value) -> Packed:
    return Packed.of(pack(value))


def test_messages_come_in_order_whatever_their_size(ends):
    mine, theirs = ends
    sent = [torch.arange(count) for count in (0, 3, PIECE // 4, PIECE, 5)]
    for number, value in enumerate(sent):
        mine.pass_on(parcel(value), "value", number)
    found = values(heard(mine, theirs, len(sent)))
    assert [number for _, number, _ in found] == list(range(len(sent)))
    assert all(torch.equal(value, sent[number]) for _, number, value in found)
    assert not mine.unsent
    assert mine.bytes_unsent == 0


def test_urgent_messages_pass_large_ones(ends):
    """A model of some gigabytes must not keep an answer of the store waiting."""
    mine, theirs = ends
    mine.pass_on(parcel(torch.zeros(8 * PIECE, dtype=torch.uint8)), "large")
    mine.write()
    assert mine.bytes_unsent > PIECE
    mine.put("urgent", 7)
    assert [words[0] for words, _ in heard(mine, theirs, 2)] == ["urgent", "large"]


def test_what_is_given_up_does_not_come_and_what_follows_does(ends):
    mine, theirs = ends
    mine.pass_on(parcel(torch.zeros(32 * PIECE, dtype=torch.uint8)), "large")
    mine.write()
    theirs.read()
    mine.give_up()
    mine.put("end")
    mine.pass_on(parcel({"a": torch.ones(3)}), "next")
    found = heard(mine, theirs, 2)
    assert [words[0] for words, _ in found] == ["end", "next"]
    assert unpack(found[1][1].load())["a"].tolist() == [1, 1, 1]


def test_a_message_without_room_is_said_and_the_line_goes_on(ends, monkeypatch):
    mine, theirs = ends
    large = parcel(torch.zeros(4 * PIECE, dtype=torch.uint8))
    monkeypatch.setattr(block, "available_memory", lambda: PIECE)
    mine.pass_on(large, "large", [0])
    mine.put("after")
    found = heard(mine, theirs, 2)
    assert found[0][0] == ("after",)
    word, words, why = found[1][0]
    assert (word, words) == ("no room", ("large", [0]))
    assert "MB of shared memory are not available" in why


def test_the_other_end_is_gone(ends):
    mine, theirs = ends
    theirs.close()
    with pytest.raises((EOFError, OSError)):
        mine.read()
