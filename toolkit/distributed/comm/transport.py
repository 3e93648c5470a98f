"""Transports: what moves the bytes of messages, below an exchange.

Two exist. The *host* transport (host_transport.py) moves host memory through gloo: helper threads wait for transfers,
and the main thread can be interrupted. The *device* transport (device_transport.py) moves an accelerator's memory
through its own backend, such as NCCL: waits only order streams, and the host runs ahead. Both post a group at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from toolkit.distributed.comm.device_transport import DeviceTransport
from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.host_transport import HostTransport
from toolkit.distributed.comm.message import Message


class Transport(Protocol):
    """Moves messages between this rank and others.

    Attributes:
        where: The device of the buffers.
    """

    where: torch.device

    def post(self, messages: Sequence[Message]) -> None:
        """Start transfers as one group, and return at once."""

    def arrived(self, message: Message) -> bool:
        """Whether a message is there, without waiting for it."""

    def wait(self, message: Message) -> None:
        """Wait until a message has arrived.

        On an accelerator only the work that this thread enqueues from here on waits, not the host.

        Raises:
            RankFailed: If another rank fails meanwhile.
            Exception: What the transfer raised, if it did.
        """

    def release(self) -> None:
        """Let go of the buffers of sends that have left."""

    def leaving(self) -> list[Message]:
        """The sends that have not left yet."""

    def drain(self) -> None:
        """Block the host until everything sent has left.

        Raises:
            RankFailed: If another rank fails meanwhile.
        """

    def close(self) -> None:
        """End helper threads."""


def transport_for(member: Member, device: torch.device, failure: FailureFlag) -> Transport:
    """Choose the transport of a group for tensors on ``device``."""
    if device.type == "cpu" or member.through_host(device) or member.size == 1:
        return HostTransport(member, failure)
    return DeviceTransport(member, device, failure)
