"""What every SPMD function knows of the process that it runs in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.distributed import ProcessGroup

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.numerics.convolution import Convolutions
from toolkit.runs.trace import Recorder


@dataclass(frozen=True, slots=True)
class Rank:
    """This process during one call.

    Attributes:
        member: The process's place in the group.
        failure: The flag by which ranks report failures.
        trace: Records what this rank does.
        convolutions: The kernels of small fp32 CPU convolutions.
    """

    member: Member
    failure: FailureFlag
    trace: Recorder
    convolutions: Convolutions

    @classmethod
    def of(cls, group: ProcessGroup | None, trace: Recorder | None, convolutions: Convolutions) -> Rank:
        """Describe this process as a rank of ``group`` (None: the default group).

        Raises:
            PlanError: If this process is not in the group.
        """
        member = Member.of(group)
        return cls(member, FailureFlag(member.store, member.rank), trace or Recorder(member.rank), convolutions)

    def exchange(self, device: torch.device, member: Member | None = None) -> Exchange:
        """Begin the messages of this rank in a call.

        Args:
            device: The device of the tensors.
            member: This process in another group; None: in the group of the call.
        """
        return Exchange(member or self.member, self.failure, trace=self.trace, device=device)
