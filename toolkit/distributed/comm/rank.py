"""What every SPMD function is given of the process that it runs in."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.numerics.convolution import Convolutions
from toolkit.runs.trace import Recorder


@dataclass(frozen=True, slots=True)
class Rank:
    """This process during one call.

    Attributes:
        member: its place in the group.
        failure: how the ranks tell each other of failures.
        trace: what it did.
        convolutions: the kernels of small fp32 CPU convolutions.
    """

    member: Member
    failure: FailureFlag
    trace: Recorder
    convolutions: Convolutions
