"""Places: which rank of a group does what for one transformer."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch.distributed.device_mesh import DeviceMesh

from toolkit.errors import PlanError
from toolkit.geometry.stage_plan import StagePlan


@dataclass(frozen=True, slots=True)
class Places:
    """Where the stages of one transformer lie among the ranks of a group.

    Attributes:
        plan: the stages.
        ranks: the group's rank of each of the plan's ranks.
        me: this process's rank in the group.
        size: number of ranks in the group; all of them are told the results.

    Example:
        >>> from toolkit.geometry import Schedule, StageSplit
        >>> plan = StagePlan(StageSplit.even(8, 4), Schedule.looped(stages=2, branches=2, chunks=2))
        >>> places = Places(plan, (0, 1), me=1, size=2)
        >>> places.chunks, places.neighbour(1), places.neighbour(-1), places.source(branch=0)
        ((1, 3), 0, 0, 1)
    """

    plan: StagePlan
    ranks: tuple[int, ...]
    me: int
    size: int

    @classmethod
    def of(cls, plan: StagePlan, mesh: DeviceMesh | None, me: int, size: int, expert: int = 0) -> Places:
        """Places on a mesh whose axes are named as the plan's; without one, on the group's first ranks.

        Args:
            plan: the stages.
            mesh: the mesh.
            me: this process's rank in the group.
            size: number of ranks in the group.
            expert: which of the plan's groups of ranks.

        Raises:
            PlanError: where the mesh or the group has not the plan's ranks.
        """
        wide = prod(plan.mesh.values())
        ranks = tuple(range(expert * wide, (expert + 1) * wide)) if mesh is None else _flat(mesh, plan)
        if max(ranks) >= size:
            raise PlanError(f"the plan is for {plan.ranks} ranks, the group has {size}: make it for the group.")
        return cls(plan, ranks, me, size)

    @property
    def position(self) -> dict[str, int] | None:
        """Where this rank stands along the axes of the plan; None where it has no part in it."""
        return self.plan.position(self.ranks.index(self.me)) if self.me in self.ranks else None

    @property
    def chunks(self) -> tuple[int, ...]:
        """The chunks of this rank, in the order of the model."""
        return self.plan.chunks_of(self.ranks.index(self.me)) if self.me in self.ranks else ()

    def neighbour(self, step: int) -> int:
        """The rank whose stages come before (-1) or after (1) this rank's, around the ring of stages."""
        position = self.position
        assert position is not None
        return self.rank_at(**{**position, "pp": (position["pp"] + step) % self.plan.mesh["pp"]})

    def source(self, branch: int) -> int:
        """The rank that has a branch's result first: where its last chunk lies."""
        last = self.plan.schedule.rank_of(self.plan.schedule.depth - 1)
        return self.rank_at(cfg=branch % self.plan.cfg, pp=last, sp=0, tp=0)

    def computes(self, branch: int) -> bool:
        """Whether this rank computes a part of a branch."""
        position = self.position
        return position is not None and position["cfg"] == branch % self.plan.cfg

    def lines(self, axis: str) -> tuple[tuple[int, ...], ...]:
        """The group's ranks along an axis of the mesh: one line for each place on the others.

        Example:
            >>> from toolkit.geometry import Schedule, StageSplit
            >>> plan = StagePlan(StageSplit.even(8, 2), Schedule.interleaved(stages=2, branches=2), sp=2)
            >>> Places(plan, (0, 1, 2, 3), me=1, size=5).lines("sp")
            ((0, 1), (2, 3))
        """
        along: dict[tuple[int, ...], list[int]] = {}
        for index, rank in enumerate(self.ranks):
            others = tuple(place for name, place in self.plan.position(index).items() if name != axis)
            along.setdefault(others, []).append(rank)
        return tuple(tuple(line) for line in along.values())

    def rank_at(self, **position: int) -> int:
        """The group's rank at a place of the mesh."""
        rank = 0
        for axis, size in self.plan.mesh.items():
            rank = rank * size + position[axis]
        return self.ranks[rank]


def _flat(mesh: DeviceMesh, plan: StagePlan) -> tuple[int, ...]:
    """The mesh's ranks in the plan's order; axes of size 1 may be missing."""
    names = mesh.mesh_dim_names or ()
    sizes = dict(zip(names, mesh.mesh.shape, strict=True))
    if {axis: sizes.get(axis, 1) for axis in plan.mesh} != plan.mesh or not set(names) <= set(plan.mesh):
        raise PlanError(
            f"the mesh is {sizes}, the plan needs {plan.mesh}: "
            f"init_device_mesh(device, {tuple(plan.mesh.values())}, mesh_dim_names={tuple(plan.mesh)})."
        )
    order = [names.index(axis) for axis in plan.mesh if axis in names]
    return tuple(mesh.mesh.permute(order).flatten().tolist())
