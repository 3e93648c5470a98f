"""What every SPMD function knows of the process that it runs in."""

from __future__ import annotations

from dataclasses import dataclass

from torch.distributed import ProcessGroup

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
