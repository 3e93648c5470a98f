"""The table of a schedule: which rank does what in which slot, written as torch.distributed.pipelining writes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.errors import PlanError


@dataclass(frozen=True, slots=True, order=True)
class Action:
    """One branch through one chunk: what a rank does at one go.

    Attributes:
        chunk: which chunk, counted through the model.
        branch: which branch, counted through the requests.

    Example:
        >>> str(Action(chunk=2, branch=0)), Action.parse("2F0")
        ('2F0', Action(chunk=2, branch=0))
    """

    chunk: int
    branch: int

    @classmethod
    def parse(cls, text: str) -> Action:
        """The action that ``str`` wrote: chunk, F for forward, branch.

        Raises:
            PlanError: for anything else.
        """
        found = re.fullmatch(r"(\d+)F(\d+)", text)
        if found is None:
            raise PlanError(f"{text!r} is no action: write chunk, F and branch, as in 2F0.")
        return cls(*map(int, found.groups()))

    def __str__(self) -> str:
        return f"{self.chunk}F{self.branch}"


Table = tuple[tuple[Action | None, ...], ...]
"""A row for each rank, a column for each slot; None where the rank is idle."""

IDLE = "."


def write_table(table: Table) -> str:
    """A line for each rank, its actions in columns, a dot where it is idle.

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
    """The table that :func:`write_table` wrote.

    Raises:
        PlanError: where a word is no action, or a rank's line is missing.

    Example:
        >>> read_table("rank 0  0F0  .")
        ((Action(chunk=0, branch=0), None),)
    """
    return tuple(_read_row(rank, line.split()) for rank, line in enumerate(text.strip().splitlines()))


def _read_row(rank: int, words: Sequence[str]) -> tuple[Action | None, ...]:
    if list(words[:2]) != ["rank", str(rank)]:
        raise PlanError(f"{' '.join(words[:2])!r}: line {rank} must begin with 'rank {rank}'.")
    return tuple(None if word == IDLE else Action.parse(word) for word in words[2:])
