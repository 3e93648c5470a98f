"""The table of a schedule: what each rank does in each slot, in the notation of torch.distributed.pipelining."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.errors import PlanError
from toolkit.geometry.checks import check_ints, shown


@dataclass(frozen=True, slots=True, order=True)
class Action:
    """One branch through one chunk: the unit of work of a rank.

    Attributes:
        chunk: Index of the chunk in the model.
        branch: Index of the branch, numbered through all requests.

    Example:
        >>> str(Action(chunk=2, branch=0)), Action.parse("2F0")
        ('2F0', Action(chunk=2, branch=0))
    """

    chunk: int
    branch: int

    def __post_init__(self) -> None:
        check_ints(0, chunk=self.chunk, branch=self.branch)

    @classmethod
    def parse(cls, text: str) -> Action:
        """The inverse of ``str``: read the chunk, F for forward, and the branch.

        Raises:
            PlanError: If the text is anything else.
        """
        found = re.fullmatch(r"([0-9]{1,9})F([0-9]{1,9})", text) if isinstance(text, str) else None
        if found is None:
            raise PlanError(f"{shown(text)} is not an action: write chunk, F and branch, for example 2F0.")
        return cls(*map(int, found.groups()))

    def __str__(self) -> str:
        return f"{self.chunk}F{self.branch}"


Table = tuple[tuple[Action | None, ...], ...]
"""One row per rank and one column per slot; None if the rank is idle."""

IDLE = "."


def write_table(table: Table) -> str:
    """Write one line per rank, with its actions in columns and a dot for each idle slot.

    Example:
        >>> print(write_table(((Action(0, 0), Action(0, 1), None), (None, Action(1, 0), Action(1, 1)))))
        rank 0  0F0  0F1  .
        rank 1  .    1F0  1F1
    """
    rows = [[IDLE if action is None else str(action) for action in row] for row in table]
    wide = max((len(text) for row in rows for text in row), default=0)
    digits = len(str(len(rows) - 1))
    lines = (
        f"rank {rank:>{digits}}  " + "  ".join(text.ljust(wide) for text in row).rstrip()
        for rank, row in enumerate(rows)
    )
    return "\n".join(lines)


def read_table(text: str) -> Table:
    """Read a table: the inverse of :func:`write_table`.

    Raises:
        PlanError: If a word is not an action, or a rank's line is missing.

    Example:
        >>> read_table("rank 0  0F0  .")
        ((Action(chunk=0, branch=0), None),)
    """
    if not isinstance(text, str):
        raise PlanError(f"{shown(text)} is not a table: give the text that str(schedule) returns.")
    return tuple(_read_row(rank, line.split()) for rank, line in enumerate(text.strip().splitlines()))


def _read_row(rank: int, words: Sequence[str]) -> tuple[Action | None, ...]:
    if list(words[:2]) != ["rank", str(rank)]:
        raise PlanError(f"{shown(' '.join(words[:2]))}: line {rank} must begin with 'rank {rank}'.")
    return tuple(None if word == IDLE else Action.parse(word) for word in words[2:])
