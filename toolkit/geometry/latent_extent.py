"""The sizes of a latent's axes, from whatever a user has at hand: sizes by name, a shape, or the latent itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from toolkit.errors import PlanError
from toolkit.geometry.checks import as_int, is_int, shown

AXES = ("t", "h", "w")
"""The axes of a latent, slowest first."""

MEANT = {"H": "h", "height": "h", "W": "w", "width": "w", "T": "t", "time": "t", "frames": "t"}
"""What the axes of a latent are called elsewhere, and here."""


class Shaped(Protocol):
    """A tensor or an array."""

    @property
    def shape(self) -> Sequence[int]:
        """Its sizes, ``b c h w`` or ``b c t h w``."""
        ...


Extent = Mapping[str, int]
Latent = Extent | Sequence[int] | Shaped


def extent_of(latent: Latent, named: Collection[str] = ()) -> Extent:
    """The sizes of ``h`` and ``w``, and of ``t`` if it is asked for.

    Args:
        latent: Sizes by name, returned as they are; a shape ``b c h w`` or ``b c t h w``; or anything that has one.
        named: Axes for which the caller has a value.

    Raises:
        PlanError: If it is none of these, or an axis has a name that it has elsewhere.

    Example:
        >>> extent_of((1, 16, 21, 60, 104)), extent_of((1, 16, 21, 60, 104), named={"t", "h", "w"})
        ({'h': 60, 'w': 104}, {'t': 21, 'h': 60, 'w': 104})
    """
    if isinstance(latent, Mapping):
        for name in latent:
            if isinstance(name, str) and name in MEANT and MEANT[name] not in latent:
                raise PlanError(f"axis {name!r}: the axes of a latent are called t, h and w; use {MEANT[name]!r}.")
        return latent
    shape = getattr(latent, "shape", latent)
    sizes = [as_int(size) for size in shape] if isinstance(shape, Sequence) and not isinstance(shape, str) else []
    if len(sizes) not in (4, 5) or not all(map(is_int, sizes)):
        # A tensor's repr may fill a page.
        what = shown(latent) if shape is latent else f"a {type(latent).__name__} of shape {shown(shape)}"
        raise PlanError(f'extent={what}: give sizes by name, such as {{"h": 60, "w": 104}}, or a latent or its shape.')
    last = dict(zip(AXES[5 - len(sizes) :], sizes[2:], strict=True))
    return {axis: size for axis, size in last.items() if axis != "t" or "t" in named}
