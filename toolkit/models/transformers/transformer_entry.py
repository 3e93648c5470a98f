"""What the toolkit knows of one transformer class: the form of an entry in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from toolkit.errors import PlanError
from toolkit.models.protocols import Transformer

Arguments = Mapping[str, Any]
"""The arguments of a transformer's call, by name."""

Names: TypeAlias = "str | tuple[Names, ...]"
"""The parameters that a block returns, in its own order: one, or a tuple of them."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """What ranks share of the sequences of a class's call.

    Attributes:
        lengths: The function that returns the length of each sequence that diffusers' hooks cut, from the transformer
            and the arguments of the call.
        mask: The argument that masks tokens, if there is one.
        refused: An argument that goes past the shared attention, if there is one; calls with it are refused.
        positions: The number of dims that the ids of tokens (``img_ids``, ``txt_ids``) must have to be cut. None: the
            class takes no ids.

    Raises:
        PlanError: If a field has a value that it cannot have.
    """

    lengths: Callable[[Transformer, Arguments], dict[str, int]]
    mask: str | None = None
    refused: str | None = None
    positions: int | None = None

    def __post_init__(self) -> None:
        if not callable(self.lengths):
            raise PlanError(f"lengths={self.lengths!r}: must be a function of the transformer and its arguments.")
        for name in ("mask", "refused"):
            if not isinstance(getattr(self, name), str | None):
                raise PlanError(f"{name}={getattr(self, name)!r}: must be the name of an argument, or None.")
        if self.positions is not None and (not isinstance(self.positions, int) or self.positions < 1):
            raise PlanError(f"positions={self.positions!r}: must be an int of at least 1, or None.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEntry:
    """What is known of the class of a transformer's block or attention.

    Attributes:
        reason: Why it needs an entry.
        returns: The parameters that a block returns, if its return statement does not name them.
        norms_across_heads: The names of an attention's norms that are taken over all heads at once. Such an attention
            counts its heads by ``heads``.

    Raises:
        PlanError: If there is no reason, or nothing else.
    """

    reason: str
    returns: Names | None = None
    norms_across_heads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str) or not self.reason:
            raise PlanError(f"reason={self.reason!r}: say why this class needs an entry.")
        if self.returns is None and not self.norms_across_heads:
            raise PlanError("an entry with neither returns nor norms_across_heads says nothing: leave it out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerEntry:
    """All that the toolkit knows of one transformer class. Most classes need no entry: their source says enough.

    Attributes:
        reason: Why ranks may share its sequence or weights as stated here.
        refused: Why it cannot run in stages; empty if it can.
        prologue: Lists of blocks that its forward loops over before the layers, with the reason for each. Lists whose
            names contain ``refiner`` are known to be prologues without an entry.
        latents_everywhere: Why stages after the first need the values of the latents, and not just their shape; empty
            if they do not. Ranks have the values: each steps its own scheduler on the same results.
        sequence: How ranks share its sequence (``sp``). None: they cannot.
        weights: The function that returns which of its linear maps are cut for tensor parallelism (``tp``), by rows
            ("colwise", named after the columns of the result) or by columns ("rowwise"). None: none are.
        parts: What is known of the classes of its blocks and attentions, by class name.

    Raises:
        PlanError: If a field has a value that it cannot have, or lacks a reason.
    """

    reason: str = ""
    refused: str = ""
    prologue: Mapping[str, str] = field(default_factory=dict)
    latents_everywhere: str = ""
    sequence: Sequences | None = None
    weights: Callable[[Transformer], dict[str, Any]] | None = None
    parts: Mapping[str, PartEntry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("reason", "refused", "latents_everywhere"):
            if not isinstance(getattr(self, name), str):
                raise PlanError(f"{name}={getattr(self, name)!r}: must be a reason in words, or empty.")
        if not all(self.prologue.values()):
            raise PlanError(f"prologue={self.prologue!r}: give the reason for each list.")
        for name in ("sequence", "weights"):
            if getattr(self, name) is not None and not self.reason:
                raise PlanError(f"{name}={getattr(self, name)!r}: give the reason= why that is exact.")
        # Most classes need no entry, so one that changes nothing is a mistake, such as a misspelt field.
        said = (self.refused, self.prologue, self.latents_everywhere, self.sequence, self.weights, self.parts)
        if not any(said):
            raise PlanError("a TransformerEntry without any field says nothing: leave it out.")
