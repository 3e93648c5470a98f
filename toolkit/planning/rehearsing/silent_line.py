"""Lines of a rank whose script is written: collectives among ranks that share a stage are written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from toolkit.distributed.comm.silent_group_compat import SilentGroup, SilentGroups
from toolkit.errors import ModelError
from toolkit.planning.rehearsing.known_values import KnownValues
from toolkit.planning.rehearsing.script import Collective, Script


class Mail(Protocol):
    """What tells ranks the numbers that they gather, such as the lengths of their parts of a text."""

    def shared(self, tensor: Tensor, line: Sequence[int], place: int) -> list[Tensor | None]:
        """Tell the ranks of a line what is known of a tensor, and hear what is known of theirs."""


class SilentLines:
    """All lines that one rank is on.

    Args:
        script: Where to write.
        values: What is known of tensors without data.
        mail: Tells the numbers that ranks gather.
        groups: Makes groups known to torch.
    """

    def __init__(self, script: Script, values: KnownValues, mail: Mail, groups: SilentGroups) -> None:
        self.script, self.values, self.mail, self.groups = script, values, mail, groups
        self._lines: dict[tuple[int, ...], SilentLine] = {}

    def line(self, ranks: tuple[int, ...]) -> SilentLine:
        """The line of some ranks, this one among them."""
        return self._lines.setdefault(ranks, SilentLine(self, ranks))

    def share(self, operation: str, args: tuple[Any, ...], out: Tensor) -> None:
        """Write down a collective of diffusers' context parallelism.

        Args:
            operation: Its name.
            args: The arguments of its operator: the tensor first, the name of the group last.
            out: What it returns.

        Raises:
            ModelError: If it is another collective.
        """
        line = next((one for one in self._lines.values() if one.name == args[-1]), None)
        if operation not in ("all_to_all", "all_gather") or line is None:
            raise ModelError(f"{operation} in {args[-1]!r}: this collective is not rehearsed. Measure a run instead.")
        line.write(operation, (out if operation == "all_gather" else args[0]).nbytes)


class SilentLine:
    """One rank of a line: it writes down what the line does together.

    Args:
        rank: The lines of the rank.
        ranks: The ranks of this line.
    """

    def __init__(self, rank: SilentLines, ranks: tuple[int, ...]) -> None:
        self.ranks, self._rank = ranks, rank
        self.name = f"rank {rank.script.rank} of the rehearsed line {ranks}"
        self._gathered = 0
        self._mesh: SilentMesh | None = None

    @property
    def place(self) -> int:
        """This rank's place in the line."""
        return self.ranks.index(self._rank.script.rank)

    def write(self, operation: str, size: int) -> None:
        """Write down a collective."""
        self._rank.script.steps.append(Collective(self.ranks, operation, size))

    def total(self, tensor: Tensor) -> Tensor:
        """Write down a sum over the line; nothing is known of it."""
        self._rank.values.forget(tensor)
        self.write("all_reduce", tensor.nbytes)
        return tensor

    def mesh(self, device: torch.device) -> SilentMesh:
        """The line as diffusers' context parallelism takes it."""
        if self._mesh is None:
            group = SilentGroup(self.name, self.place, len(self.ranks), self._gather)
            # diffusers gathers lengths on the CPU if the backend's name says so, as that of a run on CPUs does.
            self._rank.groups.add(group, "cpu:gloo" if device.type == "cpu" else "nccl")
            self._mesh = SilentMesh(group)
        return self._mesh

    def _gather(self, outputs: Sequence[Tensor], tensor: Tensor) -> None:
        """Write down that the line gathers, and learn the numbers that are known."""
        self.write("all_gather", sum(one.nbytes for one in outputs))
        known = self._rank.mail.shared(tensor, self.ranks, self._gathered)
        self._gathered += 1
        for output, twin in zip(outputs, known, strict=True):
            self._rank.values.forget(output)
            if twin is not None:
                self._rank.values.learn(output, twin)


@dataclass(frozen=True, slots=True)
class SilentMesh:
    """A mesh of one line: as much of a ``DeviceMesh`` as diffusers' context parallelism asks for.

    Attributes:
        group: The line's group.
    """

    group: SilentGroup

    def get_group(self) -> SilentGroup:
        """The line's group."""
        return self.group

    def size(self) -> int:
        """The number of ranks."""
        return self.group.size()

    def get_local_rank(self) -> int:
        """This rank's place."""
        return self.group.rank()
