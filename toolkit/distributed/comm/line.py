"""A line of ranks: those that share a stage, and the collectives among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh


class Line(Protocol):
    """One rank of a line. A run's line moves tensors; a rehearsal's writes down that they would be moved."""

    @property
    def place(self) -> int:
        """This rank's place in the line."""

    def total(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over the line, in place, and return it; all ranks of the line call this."""

    def mesh(self, device: torch.device) -> Any:
        """The line as diffusers' context parallelism takes it: what a one-dimensional ``DeviceMesh`` can do."""


@dataclass(frozen=True, slots=True)
class GroupLine:
    """A line whose ranks are a process group.

    Attributes:
        group: The group.
    """

    group: ProcessGroup

    @property
    def place(self) -> int:
        """This rank's place in the line."""
        return dist.get_rank(self.group)

    def total(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over the line, in place, and return it."""
        dist.all_reduce(tensor, group=self.group)
        return tensor

    def mesh(self, device: torch.device) -> DeviceMesh:
        """The line as a mesh."""
        return DeviceMesh.from_group(self.group, device.type, mesh_dim_names=("ulysses",))
