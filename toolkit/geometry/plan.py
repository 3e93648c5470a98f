"""What every plan answers for itself, and the plan that divides nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from toolkit.errors import PlanError
from toolkit.geometry.checks import shown

if TYPE_CHECKING:
    from toolkit.geometry.grid import TileGrid


class PlanKind(StrEnum):
    """The mechanisms by which a call is divided."""

    WHOLE = "whole"
    TILES = "tiles"
    SHARDS = "shards"
    STAGES = "stages"


class Plan(ABC):
    """How a call is divided over ranks: the questions that every plan answers.

    The code that runs, predicts, draws or reports a plan asks the plan, so that it never has to know which class of
    plan it has.

    Attributes:
        kind: The mechanism that runs the plan.
        part_noun: The name of what a rank computes one after the other, in the plural.
        promise: What the result is, next to the model's own call on the whole input; for reports.
        divides_weights: Whether each rank holds only a part of the model's weights.
    """

    kind: ClassVar[PlanKind]
    part_noun: ClassVar[str]
    promise: ClassVar[str]
    divides_weights: ClassVar[bool] = False

    @property
    @abstractmethod
    def ranks(self) -> int:
        """Number of ranks that the plan is for, idle ones included."""

    @property
    @abstractmethod
    def output_rank(self) -> int:
        """The rank that ends up with the output."""

    @property
    @abstractmethod
    def working(self) -> tuple[int, ...]:
        """The ranks that take part, in order: those with work, and the one that receives the output."""

    @property
    @abstractmethod
    def units(self) -> tuple[int, ...]:
        """How many parts each rank reports as done, by rank; empty where that is not known before the run."""

    @property
    def name(self) -> str:
        """What messages call a plan of this kind."""
        return f"a {type(self).__name__}"

    @property
    @abstractmethod
    def summary(self) -> str:
        """The plan in a few words."""

    @property
    def description(self) -> str:
        """The plan in a few words, with everything that changes the values of the output."""
        return self.summary

    @property
    def figures(self) -> Mapping[str, int | float]:
        """Numbers that describe the plan, by name, for tables that compare plans."""
        return {}

    @property
    def part_owners(self) -> tuple[int, ...]:
        """The rank of each part of :meth:`part_grid`; empty if the latent is not divided."""
        return ()

    @property
    def planned_messages(self) -> tuple[tuple[int, int, int], ...] | None:
        """The sender, receiver and latent cells of each message of a run; None if they depend on the model."""
        return None

    @property
    def seam_grid(self) -> TileGrid | None:
        """The grid whose seams may show in the output; None for plans that leave no seams."""
        return None

    def part_grid(self, extent: Mapping[str, int]) -> TileGrid | None:
        """The parts of a latent as a grid, tile ``i`` being part ``i``; None where the latent is not divided.

        Args:
            extent: Latent cells along each axis.
        """
        return None

    def require_ranks(self, available: int, where: str) -> None:
        """Refuse a plan that needs more ranks than there are.

        Args:
            available: Number of ranks.
            where: Where they are: ``cluster`` or ``group``.

        Raises:
            PlanError: Where the plan needs more.
        """
        if self.ranks > available:
            raise PlanError(
                f"the plan is for {self.ranks} ranks, the {where} has {available}: "
                f"make a plan for {available} ranks, or a larger {where}."
            )

    def require_seams(self, option: str, purpose: str) -> TileGrid:
        """The grid of a plan of tiles; refuse an option that exists for tiles only with any other plan.

        Args:
            option: The option, as the user wrote it.
            purpose: What it does, to follow "it".

        Raises:
            PlanError: If the plan has no tiles.
        """
        grid = self.seam_grid
        if grid is None:
            raise PlanError(f"{option} with {self.name}: it {purpose}. Use it with a TilePlan, or leave it out.")
        return grid


@dataclass(frozen=True)
class WholeCall(Plan):
    """The plan that divides nothing: the model's own call on the whole input, on rank 0.

    This is what ``plan=None`` stands for.

    Example:
        >>> WholeCall().ranks, WholeCall().summary
        (1, "the model's own call")
    """

    kind: ClassVar[PlanKind] = PlanKind.WHOLE
    part_noun: ClassVar[str] = "calls"
    promise: ClassVar[str] = "the model's own call"

    @property
    def ranks(self) -> int:
        """One rank."""
        return 1

    @property
    def output_rank(self) -> int:
        """Rank 0."""
        return 0

    @property
    def working(self) -> tuple[int, ...]:
        """Rank 0 only."""
        return (0,)

    @property
    def units(self) -> tuple[int, ...]:
        """One call."""
        return (1,)

    @property
    def name(self) -> str:
        """As the summary."""
        return self.summary

    @property
    def summary(self) -> str:
        """The plan in a few words."""
        return "the model's own call"

    @property
    def planned_messages(self) -> tuple[tuple[int, int, int], ...]:
        """No messages."""
        return ()


WHOLE = WholeCall()


def or_none(plan: Plan) -> Plan | None:
    """``plan``, or None for the plan that divides nothing: the inverse of :func:`or_whole`.

    Example:
        >>> or_none(WHOLE) is None
        True
    """
    return None if plan.kind is PlanKind.WHOLE else plan


def or_whole(plan: Plan | None) -> Plan:
    """``plan``, or the plan that divides nothing where there is none.

    Raises:
        PlanError: For anything that is not a plan.

    Example:
        >>> or_whole(None)
        WholeCall()
        >>> or_whole("2x1")
        Traceback (most recent call last):
        toolkit.errors.PlanError: plan='2x1' is a str: give a TilePlan, a ShardPlan, or None for the model's own call.
    """
    if plan is None:
        return WHOLE
    if not isinstance(plan, Plan):
        raise PlanError(
            f"plan={shown(plan)} is a {type(plan).__name__}: give a TilePlan, a ShardPlan, or None for {WHOLE.summary}."
        )
    return plan
