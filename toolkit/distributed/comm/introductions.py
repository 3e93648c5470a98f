"""Introductions: every rank proves to every other one that it is of the group, over the connection between the two.

gloo asks nobody who he is. Any process of the machine may connect to a rank's port on the loopback interface, and one
that is quicker than the rank that was meant takes its place: it gets that rank's messages, and sends its own. So the
first message over each connection is a token that only who can read the group's store can make.

Nobody can pass on what he hears: of two ranks one has connected to the other, at an address that it read in the store.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import torch
from torch import Tensor
from torch.distributed import Store, Work

from toolkit.errors import RunError

KEY = "toolkit/introductions"

LIMIT = timedelta(seconds=30)
"""How long a rank waits for another one, which has joined the group already."""


class Introduced(Protocol):
    """What this needs of a member of a group."""

    @property
    def rank(self) -> int:
        """This process's rank in the group."""

    @property
    def size(self) -> int:
        """Number of ranks in the group."""

    @property
    def store(self) -> Store | None:
        """The group's store; None if this process runs alone."""

    def post(self, transfers: Sequence[tuple[Tensor, int, bool]]) -> list[Work]:
        """Start transfers: for each the tensor, the other rank, and whether to send."""


def introduce(member: Introduced, device: torch.device) -> None:
    """Send every other rank of a group a token, and check theirs; every rank of the group calls this.

    It also connects every pair of ranks, where a backend does that with the first message, which is slow.

    Args:
        member: This process in the group.
        device: A device whose tensors the group moves.

    Raises:
        RunError: If somebody else answers in the place of a rank, or nobody does.
    """
    rank, size, store = member.rank, member.size, member.store
    if size == 1 or store is None:
        return
    key = _key(store, first=rank == 0)
    # In each round every rank sends to the one `shift` places after it and receives from the one `shift` before it:
    # each send has its receive in the same round, so no rank waits for one that is a round behind.
    for shift in range(1, size):
        to, source = (rank + shift) % size, (rank - shift) % size
        mine = torch.tensor(list(token(key, rank, to)), dtype=torch.uint8, device=device)
        theirs = torch.zeros_like(mine)
        try:
            for work in member.post([(mine, to, True), (theirs, source, False)]):
                work.wait(LIMIT)
        except RuntimeError as error:
            raise RunError(_refusal(source, f"was not heard from ({error})")) from error
        if not hmac.compare_digest(bytes(theirs.tolist()), token(key, source, rank)):
            raise RunError(_refusal(source, "did not know the group's key"))


def token(key: bytes, sender: int, receiver: int) -> bytes:
    """What one rank sends another.

    Example:
        >>> token(b"key", 0, 1) == token(b"key", 1, 0), len(token(b"key", 0, 1))
        (False, 32)
    """
    return hmac.digest(key, f"{sender} to {receiver}".encode(), "sha256")


def _key(store: Store, *, first: bool) -> bytes:
    if first:
        store.set(KEY, secrets.token_hex(32))
    return bytes(store.get(KEY))


def _refusal(rank: int, what: str) -> str:
    return (
        f"rank {rank} {what}: another process may have connected in its place. Run again; if it happens again, see "
        "which processes of other users run on this machine."
    )
