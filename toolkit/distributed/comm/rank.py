"""What every SPMD function knows of the process that it runs in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.transport import Transport
from toolkit.numerics.convolution import Convolutions
from toolkit.runs.trace import Recorder

Repeated = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Wraps a function that a rank calls again and again: see :class:`Rank`."""


def as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: in a run, every call is made."""
    return function


@dataclass(frozen=True, slots=True)
class Rank:
    """This process during one call.

    Attributes:
        member: The process's place in the group.
        failure: The flag by which ranks report failures.
        trace: Records what this rank does.
        convolutions: The kernels of small fp32 CPU convolutions.
        transport: Makes what moves the bytes of this rank's messages in a group; None: what suits the group and the
            device. A rehearsal's transports move nothing.
        read: Reads a number that nothing depends on but the proof that all ranks were given the same. A rehearsal,
            where most numbers are not known, does not read it.
        device: The device of its tensors; None: that of its weights, which are not on ``meta``. A rehearsal's may be.
        repeated: Wraps a function that this rank calls again and again. Its first argument is None, or the function by
            which it gets a message in the middle of a call. A rehearsal makes the first call of each form only.
    """

    member: Member
    failure: FailureFlag
    trace: Recorder
    convolutions: Convolutions
    transport: Callable[[Member], Transport] | None = None
    read: Callable[[Tensor], int] = int
    device: torch.device | None = None
    repeated: Repeated = as_it_is

    @classmethod
    def of(cls, group: ProcessGroup | None, trace: Recorder | None, convolutions: Convolutions) -> Rank:
        """Describe this process as a rank of ``group`` (None: the default group).

        Raises:
            PlanError: If this process is not in the group.
        """
        member = Member.of(group)
        return cls(member, FailureFlag(member.store, member.rank), trace or Recorder(member.rank), convolutions)

    @classmethod
    def alone(cls) -> Rank:
        """Describe this process as one that has no other ranks, whatever groups it is in."""
        return cls(Member(None, 0, 1), FailureFlag(None, 0), Recorder(), "onednn")

    def exchange(self, device: torch.device, member: Member | None = None) -> Exchange:
        """Begin the messages of this rank in a call.

        Args:
            device: The device of the tensors.
            member: This process in another group; None: in the group of the call.
        """
        member = member or self.member
        transport = None if self.transport is None else self.transport(member)
        return Exchange(member, self.failure, trace=self.trace, device=device, transport=transport)

    def connect(self) -> None:
        """Make the communicator of the group, if it is messages of a group that this rank sends."""
        if self.transport is None:
            self.member.connect()
