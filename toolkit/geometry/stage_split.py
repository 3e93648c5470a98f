"""Stage splits: the layers of a model, divided into contiguous stages."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

from toolkit.errors import PlanError
from toolkit.geometry.checks import (
    Number,
    check_collection,
    check_counts,
    check_parts,
    check_quantities,
    check_tuple,
    is_int,
    shown,
)
from toolkit.geometry.counting import counted
from toolkit.geometry.drawing.stage_views import split_view
from toolkit.geometry.partition import balanced_bounds
from toolkit.geometry.shard_plan import even_parts
from toolkit.geometry.span import Span


@dataclass(frozen=True, repr=False)
class StageSplit:
    """The layers of a model in contiguous stages. No stage is empty, and every layer is in exactly one.

    Attributes:
        bounds: 0, the first layer of every later stage, and the number of layers.

    Raises:
        PlanError: If a stage would be empty.

    Example:
        >>> split = StageSplit.even(layers=30, stages=4)
        >>> split
        StageSplit(30 layers in 4 stages: 8 8 7 7)
        >>> split.stages, split.owner(16)
        ((0:8, 8:16, 16:23, 23:30), 2)
    """

    bounds: tuple[int, ...]

    @property
    def split(self) -> StageSplit:
        """The split itself, so that a split works wherever only a plan's split is needed."""
        return self

    def __post_init__(self) -> None:
        check_tuple("bounds", self.bounds, kind=int, what="ints")
        if len(self.bounds) < 2 or self.bounds[0] != 0:
            raise PlanError(f"bounds={shown(self.bounds)}: must begin with 0 and end with the number of layers.")
        for stage, (start, stop) in enumerate(pairwise(self.bounds)):
            if start >= stop:
                raise PlanError(
                    f"bounds={shown(self.bounds)}: stage {stage} would hold layers {start}:{stop}; "
                    "every stage needs at least 1 layer, so bounds must increase."
                )
        check_parts(self.layers, what=f"bounds={shown(self.bounds)}: layers")

    @classmethod
    def even(cls, layers: int, stages: int) -> StageSplit:
        """Stages whose numbers of layers differ by at most one, longer stages first.

        Raises:
            PlanError: If there are fewer layers than stages.
        """
        check_counts(layers=layers, stages=stages)
        _check_enough(layers, stages)
        return cls((0, *accumulate(even_parts(layers, stages))))

    @classmethod
    def balanced(
        cls,
        costs: Sequence[Number],
        stages: int,
        memory: Sequence[Number] | None = None,
        cap: Number | Sequence[Number] | None = None,
        speeds: Sequence[Number] | None = None,
    ) -> StageSplit:
        """The split whose slowest stage is as fast as possible.

        Of several such splits, the one whose other stages are most even; of those, the one with the longest first
        stages.

        Args:
            costs: Time of each layer on a device of speed 1, in any unit.
            stages: Number of stages.
            memory: Memory of each layer (its weights), in any unit. Needs ``cap``.
            cap: Memory limit of a stage: one number, or one per stage. A rank with several chunks holds several
                stages.
            speeds: Speed of each stage's device; all equal by default.

        Raises:
            PlanError: If there are fewer layers than stages, or no split stays within the cap.

        Example:
            FLUX has 19 double and 38 single blocks that take equally long but hold 340 and 142 million weights.

            >>> costs, weights = [1] * 57, [340] * 19 + [142] * 38
            >>> StageSplit.balanced(costs, 3).costs(weights)
            (6460, 2698, 2698)
            >>> split = StageSplit.balanced(costs, 3, memory=weights, cap=5000)
            >>> split, split.costs(weights)
            (StageSplit(57 layers in 3 stages: 14 22 21), (4760, 4114, 2982))
            >>> StageSplit.balanced(costs, 2, speeds=[2, 1])
            StageSplit(57 layers in 2 stages: 38 19)
        """
        check_counts(stages=stages)
        check_collection("costs", costs, what="numbers, one for each layer")
        layers = len(costs)
        _check_enough(layers, stages)
        if (memory is None) != (cap is None):
            given, missing = ("memory", "cap") if cap is None else ("cap", "memory")
            raise PlanError(f"{given} without {missing}: cap limits the memory of a stage, so give both or neither.")
        speeds = [1] * stages if speeds is None else speeds
        memory = [0] * layers if memory is None else memory
        caps = cap if isinstance(cap, Collection) else [0 if cap is None else cap] * stages
        check_quantities("costs", costs, count=layers, each="layer")
        check_quantities("memory", memory, count=layers, each="layer")
        check_quantities("cap", caps, count=stages, each="stage")
        check_quantities("speeds", speeds, count=stages, each="stage", positive=True)
        return cls(balanced_bounds(costs, speeds, memory=memory, caps=caps))

    @classmethod
    def at(cls, bounds: Sequence[int], layers: int) -> StageSplit:
        """Cut before each layer in ``bounds``. It may also include 0 and ``layers`` at its ends, both or neither.

        Example:
            >>> StageSplit.at([10, 20], layers=24)
            StageSplit(24 layers in 3 stages: 10 10 4)
        """
        check_counts(layers=layers)
        check_collection("bounds", bounds, what="ints, the first layer of every later stage")
        cuts = tuple(bounds)
        check_tuple("bounds", cuts, kind=int, what="ints")
        whole = len(cuts) >= 2 and (cuts[0], cuts[-1]) == (0, layers)
        return cls(cuts if whole else (0, *cuts, layers))

    @property
    def layers(self) -> int:
        """Number of layers."""
        return self.bounds[-1]

    @property
    def stages(self) -> tuple[Span, ...]:
        """The layers of each stage."""
        return tuple(Span(start, stop) for start, stop in pairwise(self.bounds))

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of layers of each stage."""
        return tuple(map(len, self.stages))

    @property
    def imbalance(self) -> float:
        """Layers of the longest stage over the mean: 1.0 is perfect."""
        return max(self.counts) * len(self) / self.layers

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def owner(self, layer: int) -> int:
        """The stage that holds a layer.

        Raises:
            PlanError: If the split has no such layer.
        """
        if not is_int(layer) or not 0 <= layer < self.layers:
            raise PlanError(
                f"layer={shown(layer)}: must be one of the split's {self.layers} layers, 0..{self.layers - 1}."
            )
        return bisect_right(self.bounds, layer) - 1

    def costs(self, costs: Sequence[Number]) -> tuple[Number, ...]:
        """Sum the values of the layers in each stage, for example their times or weights.

        Example:
            >>> StageSplit.at([1], layers=3).costs([5, 1, 2])
            (5, 3)
        """
        check_quantities("costs", costs, count=self.layers, each="layer")
        return tuple(sum(costs[stage.start : stage.stop]) for stage in self.stages)

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """Fraction of all layers in each stage."""
        return tuple(Fraction(count, self.layers) for count in self.counts)

    def __repr__(self) -> str:
        counts = " ".join(map(str, self.counts[:12])) + (" ..." if len(self) > 12 else "")
        return f"StageSplit({counted(self.layers, 'layer')} in {counted(len(self), 'stage')}: {counts})"

    def _repr_html_(self) -> str:
        facts = f"{self.layers} layers in {len(self)} stages, imbalance {self.imbalance:.2f}"
        return split_view(self.stages, facts)


def _check_enough(layers: int, stages: int) -> None:
    if layers < stages:
        raise PlanError(
            f"{layers} layers in {stages} stages: every stage needs at least 1 layer. "
            f"Use at most {counted(layers, 'stage')}."
        )
