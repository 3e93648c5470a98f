"""A choice among rehearsed candidates: which one, why, and what made each of the others lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from math import isnan, nan

import pandas as pd

from toolkit.errors import PlanError
from toolkit.geometry.checks import is_number, shown
from toolkit.geometry.counting import in_bytes
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.planning.rehearsing.profile import Profile

GAIN = 0.03
"""The part of the time that dividing a call must gain; and that tiles must gain over a plan that is exact."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a plan must keep to.

    Attributes:
        memory: The most bytes that any rank may hold, weights included; None: no limit.
        exact: Whether the result must equal that of the whole input, to rounding.
        error: The largest difference from the model's own call, over its largest value; None: no limit.

    Raises:
        PlanError: If a limit is no number.
    """

    memory: float | None = None
    exact: bool = False
    error: float | None = None

    def __post_init__(self) -> None:
        if self.memory is not None and (not is_number(self.memory) or not self.memory >= 0):
            raise PlanError(f"memory={shown(self.memory)}: must be a number of bytes, such as 16 * 10**9 for 16 GB.")
        if not isinstance(self.exact, bool):
            raise PlanError(f"exact={shown(self.exact)}: must be True or False.")
        if self.error is not None and (not is_number(self.error) or not self.error >= 0):
            raise PlanError(f"error={shown(self.error)}: must be a part of the call's largest value, such as 0.01.")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a rehearsal predicts of one candidate.

    Attributes:
        name: The plan in words.
        plan: The plan; None for the model's own call.
        exact: Whether the result equals that of the whole call, to rounding.
        seconds: The time until the last rank has ended.
        peak: The most bytes on any rank, weights included.
        bytes: Bytes that ranks send each other.
        error: The largest difference from the model's own call, over its largest value; None: not measured.
        estimated: The part of the time that was estimated from operators of other shapes.
        refused: Why the plan cannot be run; empty if it can.
    """

    name: str
    plan: TilePlan | ShardPlan | None
    exact: bool
    seconds: float = float("inf")
    peak: int = 0
    bytes: int = 0
    error: float | None = None
    estimated: float = 0.0
    refused: str = ""

    def breaks(self, limits: Limits) -> str:
        """Which limit it does not keep to, in a few words; empty if it keeps to all."""
        if self.refused:
            return f"refused: {self.refused}"
        if limits.exact and not self.exact:
            return "approximate"
        if limits.memory is not None and self.peak > limits.memory:
            return f"needs more than {in_bytes(limits.memory)}"
        if limits.error is not None and not self.exact and (self.error is None or self.error > limits.error):
            return f"differs by more than {limits.error:g}"
        return ""


@dataclass(frozen=True, repr=False)
class Choice:
    """A plan, the reason why it was chosen, and the predictions for all candidates.

    Attributes:
        plan: The plan to give to ``decode`` or ``encode``; None: do not divide the work.
        reason: Why, in one paragraph.
        predictions: The predictions for every candidate, the quickest first.
        limits: What the plan had to keep to.
        ranks: Number of ranks that there are.
        weights: Bytes of the model's weights.
        notes: The kinds of plan that were no candidates, and why.
        guessed: Whether times were estimated from a small input, because neither profile nor cluster was given.
        profile: What operators cost, as far as it was known or measured in the end; give it to the next choice.
    """

    plan: TilePlan | ShardPlan | None
    reason: str
    predictions: tuple[Prediction, ...]
    limits: Limits = field(default_factory=Limits)
    ranks: int = 1
    weights: int = 0
    notes: tuple[str, ...] = ()
    guessed: bool = False
    profile: Profile | None = None

    @classmethod
    def of(
        cls,
        predictions: Sequence[Prediction],
        limits: Limits,
        *,
        ranks: int,
        weights: int,
        notes: tuple[str, ...] = (),
        guessed: bool = False,
        profile: Profile | None = None,
    ) -> Choice:
        """Choose among predictions.

        Raises:
            PlanError: If none keeps to the limits.
        """
        ordered = tuple(sorted(predictions, key=lambda one: (one.seconds, not one.exact)))
        best = _best([one for one in ordered if not one.breaks(limits)])
        if best is None:
            raise _nothing_fits(ordered, limits, weights)
        why = [_reason(best, ordered, limits, ranks), *notes]
        if guessed:
            why.append(
                "Times are estimated from the operators of small inputs, measured in one process. Give cluster=, "
                "or a profile= measured on one, for better ones."
            )
        return cls(best.plan, " ".join(why), ordered, limits, ranks, weights, notes, guessed, profile)

    def under(self, memory: float | None = None, exact: bool = False, error: float | None = None) -> Choice:
        """The choice under other limits, from the same predictions.

        Raises:
            PlanError: If no candidate keeps to them, or ``error`` is given but was not measured.
        """
        limits = Limits(memory, exact, error)
        measured = all(one.error is not None for one in self.predictions if not one.refused)
        if error is not None and not measured:
            raise PlanError(f"error={error:g}: the error of tiles was not measured. Choose anew, with error=.")
        return Choice.of(
            self.predictions,
            limits,
            ranks=self.ranks,
            weights=self.weights,
            notes=self.notes,
            guessed=self.guessed,
            profile=self.profile,
        )

    def table(self) -> pd.DataFrame:
        """One row per candidate, the quickest first: time, memory, traffic, error, and why it was not chosen."""
        chosen = next(one for one in self.predictions if one.plan == self.plan and not one.refused)
        rows = [
            {
                "plan": one.name,
                "seconds": one.seconds,
                "peak bytes": one.peak,
                "sent bytes": one.bytes,
                "error": nan if one.error is None else one.error,
                "exact": one.exact,
                "verdict": "chosen" if one is chosen else one.breaks(self.limits) or _slower(one, chosen),
            }
            for one in self.predictions
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return f"Choice({self.plan!r})\n{self.reason}\n{self._shown().to_string(index=False)}"

    def _repr_html_(self) -> str:
        table = self._shown().to_html(index=False, border=0)
        return f"<p><b>{escape(repr(self.plan))}</b></p><p>{escape(self.reason)}</p>{table}"

    def _shown(self) -> pd.DataFrame:
        table = self.table()
        errors = [
            "exact" if exact else _as_error(error) for exact, error in zip(table["exact"], table["error"], strict=True)
        ]
        return pd.DataFrame(
            {
                "plan": table["plan"],
                "time": [f"{seconds:.3g} s" for seconds in table["seconds"]],
                "peak per rank": [in_bytes(size) for size in table["peak bytes"]],
                "sent": [in_bytes(size) for size in table["sent bytes"]],
                "error": errors,
                "": table["verdict"],
            }
        )


def _best(fitting: Sequence[Prediction]) -> Prediction | None:
    """The quickest; the whole call or an exact plan if they take hardly longer."""
    if not fitting:
        return None
    quickest = fitting[0].seconds
    close = [one for one in fitting if one.seconds * (1 - GAIN) <= quickest]
    whole = [one for one in close if one.plan is None]
    return next(iter(whole or [one for one in close if one.exact] or close))


def _reason(best: Prediction, ordered: Sequence[Prediction], limits: Limits, ranks: int) -> str:
    whole = next(one for one in ordered if one.plan is None)
    said = [f"One rank would take {whole.seconds:.2g} s and {in_bytes(whole.peak)} for the model's own call"]
    if best.plan is None:
        said[0] += f", and no plan for up to {ranks} ranks gains {GAIN:.0%}. Do not parallelise."
        return " ".join([*said, *_excluded(ordered, limits)])
    if whole.breaks(limits):
        said[0] += ", which is more than it may"
    quality = "exact to rounding" if best.exact else "approximate: tiles do not see each other and are blended at seams"
    if best.error:
        quality += f"; on a part of the input they differ by {best.error:.2g} of the largest value"
    said[0] += "."
    said.append(
        f"{best.name[0].upper()}{best.name[1:]} take {best.seconds:.2g} s, {best.seconds / whole.seconds:.2f} of that; "
        f"no rank holds more than {in_bytes(best.peak)}, and {in_bytes(best.bytes)} are sent. The result is {quality}."
    )
    return " ".join([*said, *_excluded(ordered, limits)])


def _excluded(ordered: Sequence[Prediction], limits: Limits) -> list[str]:
    out = [one for one in ordered if one.breaks(limits)]
    return [f"{len(out)} of {len(ordered)} candidates do not keep to the limits."] if out else []


def _nothing_fits(ordered: Sequence[Prediction], limits: Limits, weights: int) -> PlanError:
    possible = [one for one in ordered if not one.breaks(Limits(None, limits.exact, limits.error))]
    if not possible:
        return PlanError(f"error={limits.error}: no candidate that can be run keeps to it. Allow more, or more ranks.")
    least = min(possible, key=lambda one: one.peak)
    return PlanError(
        f"memory={in_bytes(limits.memory or 0)} per rank: the least that any {'exact ' if limits.exact else ''}plan "
        f"needs is {in_bytes(least.peak)} ({least.name}; {in_bytes(weights)} of it are weights). Use more ranks, "
        "your own smaller tiles, or a narrower dtype."
    )


def _slower(one: Prediction, chosen: Prediction) -> str:
    """Why a candidate that keeps to all limits was not chosen."""
    if one.seconds > chosen.seconds:
        return f"{one.seconds / chosen.seconds:.2f} x the time"
    return "gains too little" if chosen.plan is None else "hardly quicker, and not exact"


def _as_error(error: float) -> str:
    return "not measured" if isnan(error) else f"{error:.2g}"
