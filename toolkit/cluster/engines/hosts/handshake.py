"""The handshake of a line: both ends prove that they have the key, before either believes a byte of the other.

    kernel --> agent    MAGIC, a number that is used once
    agent  --> kernel   a number that is used once, HMAC(key, "agent", both numbers)
    kernel --> agent    HMAC(key, "kernel", both numbers)

The key itself never travels, an answer that was overheard is of no use a second time, and the answer of one end is no
answer for the other. What follows is neither encrypted nor signed: that takes a certificate, or a network that can be
trusted.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import stat
from pathlib import Path

from toolkit.cluster.engines.hosts.encrypted import Encrypted
from toolkit.errors import ToolkitError

MAGIC = b"toolkit line 1\n"
NUMBER = 32
SHORTEST = 16
"""Bytes that a key must have at least: a shorter one can be guessed."""

LIMIT = 5.0
"""Seconds that the other end has for each of its answers."""


class WrongKey(ToolkitError):
    """The other end has another key, or none."""


def welcome(end: socket.socket | Encrypted, key: bytes) -> None:
    """The kernel's side.

    Raises:
        WrongKey: If the other end has another key.
        OSError: If it hangs up, or does not answer in time.
    """
    end.settimeout(LIMIT)
    mine = secrets.token_bytes(NUMBER)
    end.sendall(MAGIC + mine)
    theirs, proof = exactly(end, NUMBER), exactly(end, NUMBER)
    if not hmac.compare_digest(proof, _proof(key, b"agent", mine, theirs)):
        raise WrongKey("an agent with another key has called: both need the same --key-file.")
    end.sendall(_proof(key, b"kernel", mine, theirs))
    end.settimeout(None)


def introduce_agent(end: socket.socket | Encrypted, key: bytes) -> None:
    """The agent's side.

    Raises:
        WrongKey: If the other end has another key, or is no kernel of this toolkit.
        OSError: If it does not answer in time.
    """
    end.settimeout(LIMIT)
    try:
        if exactly(end, len(MAGIC)) != MAGIC:
            raise WrongKey("what answers is no cluster of this version of toolkit.")
        theirs, mine = exactly(end, NUMBER), secrets.token_bytes(NUMBER)
        end.sendall(mine + _proof(key, b"agent", theirs, mine))
        proof = exactly(end, NUMBER)
    except EOFError:
        raise WrongKey("the kernel has refused this agent's key: both need the same --key-file.") from None
    if not hmac.compare_digest(proof, _proof(key, b"kernel", theirs, mine)):
        raise WrongKey("the kernel has another key: both need the same --key-file.")
    end.settimeout(None)


def read_key(path: str | os.PathLike[str]) -> bytes:
    """The key in a file that only this user can read.

    Raises:
        ToolkitError: If there is no such file, others can read it, or the key is too short.
    """
    file = Path(path).expanduser()
    try:
        mode = file.stat().st_mode
        key = file.read_bytes().strip()
    except OSError as error:
        raise ToolkitError(
            f"key file {file}: {error.strerror}. Make one with `python -m toolkit agent --new-key {file}`, and copy it "
            "to every host."
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise ToolkitError(f"key file {file}: other users can read it. `chmod 600 {file}`.")
    if len(key) < SHORTEST:
        raise ToolkitError(f"key file {file}: {len(key)} bytes; a key has at least {SHORTEST}.")
    return key


def write_key(path: str | os.PathLike[str]) -> Path:
    """Write a new key to a file that only this user can read.

    Raises:
        ToolkitError: If the file exists, or cannot be written.
    """
    file = Path(path).expanduser()
    try:
        with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as stream:
            stream.write(secrets.token_hex(32) + "\n")
    except OSError as error:
        raise ToolkitError(f"key file {file}: {error.strerror}.") from error
    return file


def exactly(end: socket.socket | Encrypted, length: int) -> bytes:
    """The next bytes of a blocking socket.

    Raises:
        EOFError: If the other end closes before.
    """
    data = b""
    while len(data) < length:
        piece = end.recv(length - len(data))
        if not piece:
            raise EOFError("the other end is closed")
        data += piece
    return data


def _proof(key: bytes, role: bytes, kernels: bytes, agents: bytes) -> bytes:
    return hmac.digest(key, role + kernels + agents, "sha256")
