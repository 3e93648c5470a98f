"""Places: which rank of a group does what for one transformer.

Three numberings meet here. A plan counts its ranks 0, 1, 2, ... and gives each a position on its mesh; a process group
counts its own ranks; ``Places.ranks`` says which of the group's ranks each of the plan's ranks is. With ``experts=2``
the second transformer's plan lies on the group's later ranks:

    plan's rank       0  1        mesh position   pp=0  pp=1
    group's rank      2  3        Places.ranks    (2, 3)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch.distributed.device_mesh import DeviceMesh

from toolkit.errors import PlanError
from toolkit.geometry.stage_plan import StagePlan


@dataclass(frozen=True, slots=True)
class Places:
    """Where the stages of one transformer are among the ranks of a group.

    Attributes:
        plan: The stages.
        ranks: The group's rank of each of the plan's ranks.
        me: This process's rank in the group.
        size: Number of ranks in the group; all of them get the results.

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
    def of(
        cls,
        plan: StagePlan,
        mesh: DeviceMesh | None,
        *,
        me: int,
        size: int,
        expert: int = 0,
        numbers: Sequence[int] | None = None,
    ) -> Places:
        """Place a plan on a mesh; without one, on the first ranks of the group.

        Args:
            plan: The stages.
            mesh: A mesh whose axes have the names of the plan's axes.
            me: This process's rank in the group.
            size: Number of ranks in the group.
            expert: Which of the plan's groups of ranks to use, if several transformers have ranks of their own.
            numbers: The global number of each of the group's ranks, by which a mesh names them; None: the same.

        Raises:
            PlanError: If the mesh or the group does not have the plan's ranks.
        """
        wide = prod(plan.mesh.values())
        ranks = tuple(range(expert * wide, (expert + 1) * wide)) if mesh is None else _flat(mesh, plan)
        if mesh is not None and numbers is not None:
            if strange := set(ranks) - set(numbers):
                raise PlanError(
                    f"the mesh has the global rank(s) {', '.join(map(str, sorted(strange)))}, which the group of "
                    f"{', '.join(map(str, numbers))} does not have: give the group of the mesh's own ranks."
                )
            ranks = tuple(numbers.index(rank) for rank in ranks)
        if max(ranks) >= size:
            raise PlanError(f"the plan is for {plan.ranks} ranks, the group has {size}: make a plan for {size} ranks.")
        return cls(plan, ranks, me, size)

    @property
    def position(self) -> dict[str, int] | None:
        """This rank's position along the axes of the plan; None if it has no part in the plan."""
        return self.plan.position(self.ranks.index(self.me)) if self.me in self.ranks else None

    @property
    def chunks(self) -> tuple[int, ...]:
        """The chunks of layers on this rank, in the model's order; empty if it has no part in the plan."""
        return self.plan.chunks_of(self.ranks.index(self.me)) if self.me in self.ranks else ()

    def neighbour(self, step: int) -> int:
        """The rank whose stage comes before (``step=-1``) or after (``step=1``) this rank's, around the ring of stages.

        A ring, because with several chunks per rank the last rank passes its output back to the first.
        """
        position = self.position
        assert position is not None
        return self.rank_at(**{**position, "pp": (position["pp"] + step) % self.plan.mesh["pp"]})

    def source(self, branch: int) -> int:
        """The rank that has a branch's result first: the one with the last chunk."""
        last = self.plan.schedule.rank_of(self.plan.schedule.depth - 1)
        return self.rank_at(cfg=branch % self.plan.cfg, pp=last, sp=0, tp=0)

    def computes(self, branch: int) -> bool:
        """Whether this rank computes part of a branch: with ``cfg=2``, branches alternate between two sets of ranks."""
        position = self.position
        return position is not None and position["cfg"] == branch % self.plan.cfg

    def lines(self, axis: str) -> tuple[tuple[int, ...], ...]:
        """The group's ranks along one axis of the mesh: one line for each position on the other axes.

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
        """The group's rank at a position on the mesh."""
        # Row-major over the axes in the plan's order: the last axis changes fastest.
        rank = 0
        for axis, size in self.plan.mesh.items():
            rank = rank * size + position[axis]
        return self.ranks[rank]


def _flat(mesh: DeviceMesh, plan: StagePlan) -> tuple[int, ...]:
    """The mesh's ranks in the plan's order. Axes of size 1 may be missing from the mesh."""
    names = mesh.mesh_dim_names or ()
    sizes = dict(zip(names, mesh.mesh.shape, strict=True))
    if {axis: sizes.get(axis, 1) for axis in plan.mesh} != plan.mesh or not set(names) <= set(plan.mesh):
        raise PlanError(
            f"the mesh is {sizes}, the plan needs {plan.mesh}: make it by "
            f"init_device_mesh(device, {tuple(plan.mesh.values())}, mesh_dim_names={tuple(plan.mesh)})."
        )
    order = [names.index(axis) for axis in plan.mesh if axis in names]
    return tuple(mesh.mesh.permute(order).flatten().tolist())
