"""Another user of the machine, who tries what he can. Run as a program, by root, who becomes that user."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import sys

NOBODY = 65534
"""The user whom every system has and who owns nothing."""

SEQUENCES = range(12)
"""By what gloo tells a rank's connections apart: a number that counts up from zero."""

FRAME = struct.Struct("<6Q")
"""What gloo sends before a message: the frame's size, its kind, and where the message belongs."""

HAS, WANTS = 2, 3
"""Kinds of frame: somebody has a message for the other end; somebody is ready for one."""


def tried(action) -> str:
    """What came of an attempt: an error's name, or that it worked."""
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "worked"


def read_everything(folders: list[str], pids: list[int]) -> dict[str, str]:
    """Attempts to reach where ranks meet, and the memory that they share."""
    found = {}
    for folder in folders:
        found[f"list {folder}"] = tried(lambda folder=folder: os.listdir(folder))
        found[f"open {folder}"] = tried(lambda folder=folder: open(f"{folder}/meeting", "rb"))  # noqa: SIM115
        found[f"write {folder}"] = tried(lambda folder=folder: open(f"{folder}/mine", "wb"))  # noqa: SIM115
    for pid in pids:
        found[f"descriptors of {pid}"] = tried(lambda pid=pid: os.listdir(f"/proc/{pid}/fd"))
        found[f"memory of {pid}"] = tried(lambda pid=pid: open(f"/proc/{pid}/mem", "rb"))  # noqa: SIM115
        found[f"signal to {pid}"] = tried(lambda pid=pid: os.kill(pid, 0))
    return found


def answer(connection: socket.socket, got: bytes) -> None:
    """Ask for what gloo announces: it sends a message once the other end says that it is ready."""
    for start in range(0, len(got) - FRAME.size + 1, FRAME.size):
        size, kind, *rest = FRAME.unpack_from(got, start)
        if (size, kind) == (FRAME.size, HAS):
            with contextlib.suppress(OSError):
                connection.sendall(FRAME.pack(size, WANTS, *rest))


def take_places() -> bytes:
    """Connect to every port that a line of the input names, as if by a rank; returns all that was heard."""
    connections, heard, waiting = [], b"", b""
    while True:
        ready = select.select([sys.stdin.fileno(), *connections], [], [])[0]
        for one in ready:
            if one == sys.stdin.fileno():
                text = os.read(one, 1 << 16)
                if not text:
                    return heard
                *lines, waiting = (waiting + text).split(b"\n")
                connections += [got for line in lines for got in connect(int(line))]
                continue
            try:
                got = one.recv(1 << 16)
            except OSError:
                got = b""
            heard += got
            answer(one, got)
            if not got:
                connections.remove(one)


def connect(port: int) -> list[socket.socket]:
    """One connection for each number that a rank could have."""
    made = []
    for sequence in SEQUENCES:
        with contextlib.suppress(OSError):
            one = socket.create_connection(("127.0.0.1", port))
            one.sendall(struct.pack("<Q", sequence))
            made.append(one)
    return made


if __name__ == "__main__":
    "x".encode("idna")  # Python itself lies in a folder of root's
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    request = json.loads(sys.argv[1])
    print("ready", flush=True)
    print(json.dumps(read_everything(**request)) if request else take_places().hex())
