"""Stage plans: a split and its schedule on a mesh of ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from toolkit.errors import PlanError
from toolkit.geometry.checks import Number, check_collection, check_counts, check_kind, check_parts, check_rank, shown
from toolkit.geometry.counting import counted
from toolkit.geometry.drawing.stage_views import plan_view
from toolkit.geometry.known_arguments import known_arguments
from toolkit.geometry.plan import WHOLE, Plan, PlanKind
from toolkit.geometry.schedule import Schedule
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.span import Span
from toolkit.geometry.stage_split import StageSplit
from toolkit.geometry.tile_plan import TilePlan


@known_arguments
@dataclass(frozen=True, repr=False)
class StagePlan(Plan):
    """How a transformer's layers and a step's branches lie on ranks.

    Attributes:
        split: The layers of each chunk.
        schedule: What one group of stages does. Its branches are those of one group.
        cfg: Number of groups of stages that share the guidance branches; each group has the whole model.
        sp: Number of ranks that share each stage's sequence.
        tp: Number of ranks that share each stage's weights.
        experts: Number of groups of all of the above, for a pipeline with several transformers: one transformer per
            group. With 1, all transformers are split over the same ranks.
        encoders: The rank of a pipeline's text and image encoders.
        vae: How a pipeline's latents are decoded, on the plan's first ranks. None: the model's own call on rank 0.

    Raises:
        PlanError: If a count is below 1, the split does not have one stage per chunk of the schedule, a rank is not
            one of the plan's, or both sp and tp are above 1.

    Example:
        >>> plan = StagePlan(StageSplit.even(layers=30, stages=4), Schedule.looped(stages=2, branches=2, chunks=2))
        >>> plan
        StagePlan(30 layers in 4 stages: 8 8 7 7; Schedule.looped(stages=2, branches=2, chunks=2); 2 ranks)
        >>> plan.layers_of(rank=1)
        (8:16, 23:30)
        >>> StagePlan(StageSplit.even(30, 2), Schedule.interleaved(2, branches=1), cfg=2).mesh
        {'cfg': 2, 'pp': 2, 'sp': 1, 'tp': 1}
    """

    kind: ClassVar[PlanKind] = PlanKind.STAGES
    divides_weights: ClassVar[bool] = True
    part_noun: ClassVar[str] = "stretches"
    promise: ClassVar[str] = "stages: the unsplit transformer's layers, in their order"

    split: StageSplit
    schedule: Schedule
    cfg: int = 1
    sp: int = 1
    tp: int = 1
    experts: int = 1
    encoders: int = 0
    vae: TilePlan | ShardPlan | None = None

    def __post_init__(self) -> None:
        check_kind("split", self.split, kind=StageSplit, remedy="a StageSplit, such as StageSplit.even(layers, stages)")
        check_kind("schedule", self.schedule, kind=Schedule, remedy="a Schedule, such as Schedule.interleaved(...)")
        check_counts(cfg=self.cfg, sp=self.sp, tp=self.tp, experts=self.experts)
        if len(self.split) != self.schedule.depth:
            raise PlanError(
                f"the split has {len(self.split)} stages, {self.schedule!r} needs {self.schedule.depth}, one for each "
                f"chunk: split the {self.split.layers} layers into {self.schedule.depth} stages."
            )
        if self.sp > 1 and self.tp > 1:
            raise PlanError(
                f"sp={self.sp} with tp={self.tp}: ranks share a stage's sequence or its weights, not both. Use one."
            )
        check_parts(self.ranks, what=f"experts={self.experts} of {self.mesh} ranks")
        check_rank("encoders", self.encoders, ranks=self.ranks)
        if self.vae is not None and not isinstance(self.vae, TilePlan | ShardPlan):
            raise PlanError(f"vae={shown(self.vae)}: must be a TilePlan, a ShardPlan, or None for {WHOLE.summary}.")
        if self.vae is not None and self.vae.ranks > self.ranks:
            raise PlanError(
                f"vae is a plan for {self.vae.ranks} ranks, the stages have {self.ranks}: make it for at most as many."
            )

    @property
    def mesh(self) -> dict[str, int]:
        """Sizes of the axes of each expert's mesh, slowest first, so that neighbouring ranks exchange the most."""
        return {"cfg": self.cfg, "pp": self.schedule.ranks, "sp": self.sp, "tp": self.tp}

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return self.experts * prod(self.mesh.values())

    @property
    def output_rank(self) -> int:
        """The rank that decodes the pipeline's latents and so has its output."""
        return (self.vae or WHOLE).output_rank

    @property
    def working(self) -> tuple[int, ...]:
        """All ranks."""
        return tuple(range(self.ranks))

    @property
    def units(self) -> tuple[int, ...]:
        """Empty: the number of steps is the pipeline's to decide."""
        return ()

    @property
    def branches(self) -> int:
        """Number of guidance branches per request, over all groups."""
        return self.cfg * self.schedule.branches

    @property
    def summary(self) -> str:
        """The plan in a few words."""
        return f"{counted(len(self.split), 'stage')} over {counted(self.ranks, 'rank')}"

    def position(self, rank: int) -> dict[str, int]:
        """The place of a rank along each axis of its expert's mesh.

        Raises:
            PlanError: If the plan has no such rank.

        Example:
            >>> StagePlan(StageSplit.even(30, 2), Schedule.interleaved(2, branches=2), tp=2).position(rank=3)
            {'cfg': 0, 'pp': 1, 'sp': 0, 'tp': 1}
        """
        check_rank("rank", rank, ranks=self.ranks)
        places: dict[str, int] = {}
        for axis, size in reversed(self.mesh.items()):
            rank, places[axis] = divmod(rank, size)
        return {axis: places[axis] for axis in self.mesh}

    def chunks_of(self, rank: int) -> tuple[int, ...]:
        """The chunks on a rank, in the order of the model."""
        return tuple(range(self.position(rank)["pp"], self.schedule.depth, self.schedule.ranks))

    def layers_of(self, rank: int) -> tuple[Span, ...]:
        """The layers of each chunk on a rank."""
        return tuple(self.split.stages[chunk] for chunk in self.chunks_of(rank))

    def expert_of(self, rank: int) -> int:
        """The index of the expert's group of ranks that a rank belongs to."""
        check_rank("rank", rank, ranks=self.ranks)
        return rank // (self.ranks // self.experts)

    def require_hosts(self, hosts: Sequence[object]) -> None:
        """Refuse hosts that divide the ranks of one stage, if one host has room for them.

        Ranks along sp and tp talk in every layer, stages once per call. Neighbouring ranks share a stage, so it is on
        one host wherever each host has a multiple of sp * tp ranks.

        Args:
            hosts: The host of each rank; ranks that it leaves out are not looked at.

        Raises:
            PlanError: With the ranks that are apart.

        Example:
            >>> plan = StagePlan(StageSplit.even(30, 3), Schedule.interleaved(3, branches=2), tp=2)
            >>> plan.require_hosts(["a", "a", "a", "a", "b", "b"])
            >>> plan.require_hosts(["a", "a", "a", "b", "b", "b"])  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            ...
            toolkit.errors.PlanError: tp=2: ranks 2 to 3 share a stage, and are on hosts a and b, ...
        """
        check_collection("hosts", hosts, what="names, the host of each rank")
        size = self.sp * self.tp
        known = [host if isinstance(host, str) else shown(host) for host in hosts[: self.ranks]]
        if not known or max(Counter(known).values()) < size:
            return
        for first in range(0, len(known) - size + 1, size):
            apart = list(dict.fromkeys(known[first : first + size]))
            if len(apart) > 1:
                axis = "sp" if self.sp > 1 else "tp"
                raise PlanError(
                    f"{axis}={size}: ranks {first} to {first + size - 1} share a stage, and are on hosts "
                    f"{' and '.join(apart)}, which would talk in every layer. Give each host a multiple of "
                    f"{size} ranks, or make a plan with another {axis}."
                )

    def step_time(self, costs: Sequence[Number] | None = None, hop: Number = 0.0) -> Number:
        """Time of one step of every request, once the pipeline is full.

        Args:
            costs: Time of each layer for one branch. By default the whole model takes 1 and all layers the same.
            hop: Time from the end of a stage until its result arrives at the next rank.

        Example:
            Stages do not change the text encoder and the VAE, which take F seconds; the rest takes S seconds on one
            device and S g in stages, where g is the plan's step over that of one device. Two published runs of Wan 2.2
            A14B (208.9 s on one device, 171.3 s in two stages) give F and S, and these predict a third (152.5 s in
            four stages):

            >>> def g(stages):
            ...     return StagePlan(StageSplit.even(40, stages), Schedule.interleaved(stages, branches=2)).ratio
            >>> S = (208.9 - 171.3) / (g(1) - g(2))
            >>> F = 208.9 - S * g(1)
            >>> round(F + S * g(4), 1)
            152.5
        """
        return self.schedule.step_time(self.split.shares if costs is None else self.split.costs(costs), hop)

    @property
    def ratio(self) -> float:
        """Time of a step over that of one device without stages, for layers of equal cost and links that cost nothing.

        Ranks along sp and tp count as one device.
        """
        return float(self.step_time()) / (self.branches * self.schedule.in_flight)

    def __repr__(self) -> str:
        split = repr(self.split).partition("(")[2][:-1]
        return f"StagePlan({split}; {self.schedule!r}; {self._places})"

    @property
    def _places(self) -> str:
        axes = {**self.mesh, **({"experts ": self.experts} if self.experts > 1 else {})}
        wide = [f"{axis}{size}" for axis, size in axes.items() if size > 1]
        return counted(self.ranks, "rank") + (f", {' x '.join(wide)}" if wide != [f"pp{self.ranks}"] and wide else "")

    def _repr_html_(self) -> str:
        ledger = [(self.position(rank), self.layers_of(rank)) for rank in range(self.ranks)]
        facts = f"{self.summary}; {self.schedule!r}; a step takes {self.ratio:.3f} of the time on one device"
        events = self.schedule.timeline(self.split.shares, steps=2)
        return plan_view(ledger, events, ranks=self.schedule.ranks, facts=facts)


Plans = Mapping[str, StagePlan]
"""The plan of each transformer of a pipeline, by name. All have the same ranks."""


def first_plan(plan: StagePlan | Plans | None) -> StagePlan | None:
    """A pipeline's plan, or the first of several; they agree in everything but their splits and schedules.

    Raises:
        PlanError: For anything that is neither a StagePlan, a mapping of names to them, nor None.

    Example:
        >>> plan = StagePlan(StageSplit.even(8, 2), Schedule.interleaved(2, branches=2))
        >>> first_plan({"transformer": plan, "transformer_2": plan}) is plan, first_plan(None)
        (True, None)
    """
    if plan is None:
        return None
    plans = [plan] if isinstance(plan, StagePlan) else list(plan.values()) if isinstance(plan, Mapping) else []
    if not plans or not all(isinstance(one, StagePlan) for one in plans):
        raise PlanError(
            f"plan={shown(plan)} for a pipeline: give a StagePlan, one for each of its transformers by name, or None "
            f"for {WHOLE.summary}."
        )
    return plans[0]


def stage_plan_of(plan: object) -> StagePlan | None:
    """``plan``, if it divides a pipeline into stages; None for anything else."""
    return plan if isinstance(plan, StagePlan) else None


def plans_by_name(plan: StagePlan | Plans, names: Iterable[str]) -> dict[str, StagePlan]:
    """The plan of each transformer: the same for all where one is given."""
    return dict.fromkeys(names, plan) if isinstance(plan, StagePlan) else dict(plan)
