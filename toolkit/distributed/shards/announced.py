"""Messages whose sizes are compared before they are sent, for code that nobody has looked at.

Ranks derive the sizes of messages from strips, so only bytes travel. A model's own code can make a tensor as large as
the local map in a dim that no strip knows of; then one rank sends more than another expects, and gloo ends the process
(SIGABRT). While such a model is tried out, every message is announced:

    rank 0   announces (80 bytes, "sum")              rank 1   announces (64 bytes, "sum")
             reads (64 bytes, "sum"), expected 80              reads (80 bytes, "sum"), expected 64
             refuses, and sends nothing                        refuses, and sends nothing

Why this cannot deadlock: announcements are a group of their own, posted before any of them is waited for.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import fields

import torch

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.message import Incoming, Message, Outgoing
from toolkit.distributed.comm.rank import Rank
from toolkit.errors import NotExact
from toolkit.runs.trace import Label


class AnnouncedExchange(Exchange):
    """An exchange that sends nothing before both ends agree on what it is and how large."""

    def swap(self, label: Label, sends: Sequence[Outgoing] = (), receives: Sequence[Incoming] = ()) -> list[Message]:
        """As :meth:`Exchange.swap`.

        Raises:
            NotExact: If another rank is about to send something else than this one expects.
        """
        purpose = zlib.crc32(label.purpose.encode())
        leaving = [Outgoing(torch.tensor([one.tensor.nbytes, purpose]), one.to) for one in sends]
        coming = [Incoming((2,), torch.int64, one.source) for one in receives]
        for one, message in zip(receives, super().swap(label, leaving, coming), strict=True):
            bytes_, theirs = self.take(message).tolist()
            expected = math.prod(one.shape) * one.dtype.itemsize
            if (bytes_, theirs) != (expected, purpose):
                what = f"{bytes_} bytes" if theirs == purpose else "something else"
                raise NotExact(
                    f"{label.purpose} in {label.module or 'the model'} cannot be sharded exactly: rank {one.source} "
                    f"sends {what} where {expected} bytes are expected, so the model's code makes sizes or decisions "
                    "of the rows that a rank has. Use tiles for this model, or the model's own call."
                )
        return super().swap(label, sends, receives)


class RankOnTrial(Rank):
    """A rank whose messages are announced."""

    @classmethod
    def like(cls, rank: Rank) -> RankOnTrial:
        """The same rank, on trial."""
        return cls(**{field.name: getattr(rank, field.name) for field in fields(rank)})

    def exchange(self, device: torch.device, member: Member | None = None) -> Exchange:
        """As :meth:`Rank.exchange`."""
        return AnnouncedExchange(member or self.member, self.failure, trace=self.trace, device=device)
