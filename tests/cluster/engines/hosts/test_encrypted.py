"""Lines by TLS: the same messages, and no agent that takes another certificate for the kernel's."""

from __future__ import annotations

import select
import socket
import subprocess
import threading

import pytest
import torch

from toolkit.cluster.engines.hosts.calling import serve_kernels
from toolkit.cluster.engines.hosts.encrypted import Encrypted, agents_context, kernels_context
from toolkit.cluster.engines.hosts.handshake import introduce_agent, welcome
from toolkit.cluster.engines.hosts.host import About
from toolkit.cluster.engines.hosts.host_line import PIECE, HostLine
from toolkit.cluster.engines.hosts.switchboard import Switchboard
from toolkit.cluster.engines.packed import Packed
from toolkit.cluster.engines.parcel import pack, unpack
from toolkit.errors import ToolkitError

KEY = b"k" * 32


def certificate(folder, name: str) -> tuple[str, str]:
    """A certificate that has signed itself, and its private key."""
    certificate, key = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"), "kernel")


@pytest.fixture
def lines(files):
    """Both ends of a line."""
    found: dict[str, HostLine] = {}
    with socket.create_server(("127.0.0.1", 0)) as desk:

        def agent() -> None:
            end = Encrypted(socket.create_connection(desk.getsockname()), agents_context(files[0]), server=False)
            introduce_agent(end, KEY)
            found["agent"] = HostLine(end)

        thread = threading.Thread(target=agent)
        thread.start()
        end = Encrypted(desk.accept()[0], kernels_context(*files), server=True)
        welcome(end, KEY)
        thread.join()
    kernel = HostLine(end)
    yield kernel, found["agent"]
    kernel.close()
    found["agent"].close()


def test_messages_of_every_size_both_ways(lines):
    for mine, theirs in (lines, lines[::-1]):
        sent = [torch.arange(count) for count in (3, PIECE // 8 + 7, 2 * PIECE)]
        for number, value in enumerate(sent):
            mine.pass_on(Packed.of(pack(value)), number)
        mine.put("urgent")
        found = []
        for _ in range(100_000):
            mine.write()
            found += theirs.read()
            if len(found) == 4:
                break
        assert sorted(str(words[0]) for words, _ in found) == ["0", "1", "2", "urgent"]
        for words, packed in found:
            if packed is not None:
                assert torch.equal(unpack(packed.load()), sent[words[0]])
        assert not mine.unsent


def test_the_end_is_heard(lines):
    kernel, agent = lines
    kernel.close()
    select.select([agent], [], [], 5.0)
    with pytest.raises((EOFError, OSError)):
        agent.read()


def test_another_certificate_is_refused(files, tmp_path):
    other = certificate(tmp_path, "other")
    board = Switchboard(("127.0.0.1", 0), KEY, kernels_context(*files))
    try:
        with pytest.raises(ToolkitError, match=r"does not show that certificate: .*certificate verify failed"):
            serve_kernels(board.address, KEY, About.here(1), patience=5.0, tls=agents_context(other[0]))
        # An agent without TLS does not even get to the key.
        with pytest.raises((ToolkitError, OSError)):
            serve_kernels(board.address, KEY, About.here(1), patience=0.1)
    finally:
        board.close()


def test_files_that_are_none(tmp_path, files):
    with pytest.raises(ToolkitError, match=r"certificate .*none"):
        agents_context(tmp_path / "none")
    with pytest.raises(ToolkitError, match="private_key"):
        kernels_context(files[0], certificate(tmp_path, "other")[1])
