"""What one rank posts: tensors that leave, tensors that are to come, and both under way."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from toolkit.runs.trace import Label


class Outgoing(NamedTuple):
    """A tensor to send.

    Attributes:
        tensor: It may be sent from its own memory, so do not write to it before the exchange is flushed.
        to: The rank that receives it.
    """

    tensor: Tensor
    to: int


class Incoming(NamedTuple):
    """A tensor to receive.

    Attributes:
        shape: Its shape, which the receiver derives from the plan.
        dtype: Its dtype.
        source: The rank that sends it.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    source: int


@dataclass(slots=True, eq=False)
class Message:
    """A tensor under way, seen from one end.

    Attributes:
        label: What the message is, for the trace.
        peer: The rank at the other end.
        sends: Whether this end sends.
        buffer: The memory that the transfer reads or fills; kept alive until the transfer is done.
        done: Set when the transfer has ended, successfully or not.
        error: The exception that the transfer raised, if it did.
    """

    label: Label
    peer: int
    sends: bool
    buffer: Tensor
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None
