"""Blends: how overlapping tiles become one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from toolkit.errors import PlanError
from toolkit.geometry.checks import check_choice
from toolkit.geometry.drawing.html_views import blend_view

Ramp = Literal["linear", "cosine", "crop"]
Merge = Literal["window", "cascade"]


@dataclass(frozen=True, repr=False)
class Blend:
    """A ramp over each overlap, and the merge that applies it.

    The *window* merge is a weighted sum: the weights are the product of one ramp per axis, normalised to one, so the
    order of tiles does not matter and any overlap works. The *cascade* merge is what diffusers does: each tile is
    blended in place into its already blended upper neighbour, then into the left one. Where four tiles meet, the
    cascade's weights are .375, .125, .25 and .25 in the middle of the corner, the window's .25 each.

    Attributes:
        ramp: The weights over an overlap.
        merge: How the weights are applied.

    Raises:
        PlanError: For an unknown ramp or merge, or for a cascade with a ramp other than linear.

    Example:
        >>> Blend.linear(), Blend.diffusers()
        (Blend.linear(), Blend.diffusers())
    """

    ramp: Ramp = "linear"
    merge: Merge = "window"

    def __post_init__(self) -> None:
        check_choice("ramp", self.ramp, choices=get_args(Ramp))
        check_choice("merge", self.merge, choices=get_args(Merge))
        if self.merge == "cascade" and self.ramp != "linear":
            raise PlanError(f"ramp={self.ramp!r} with merge='cascade': diffusers' cascade has linear ramps only.")

    @classmethod
    def linear(cls) -> Blend:
        """Weights rise linearly over the overlap, sampled at cell centres."""
        return cls("linear", "window")

    @classmethod
    def cosine(cls) -> Blend:
        """Weights rise as a squared sine, without a kink where an overlap begins or ends."""
        return cls("cosine", "window")

    @classmethod
    def crop(cls) -> Blend:
        """No blending: overlaps are computed for context only and cut in the middle."""
        return cls("crop", "window")

    @classmethod
    def diffusers(cls) -> Blend:
        """Diffusers' in-place linear cascade, bit for bit."""
        return cls("linear", "cascade")

    def __repr__(self) -> str:
        return "Blend.diffusers()" if self.merge == "cascade" else f"Blend.{self.ramp}()"

    def _repr_html_(self) -> str:
        return blend_view(self.ramp, self.merge, facts=repr(self))
