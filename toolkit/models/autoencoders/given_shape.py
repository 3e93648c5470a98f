"""The shape of an autoencoder's input, as users give it."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set

from toolkit.errors import PlanError
from toolkit.geometry.checks import check_ints, shown


def given_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of an autoencoder's input as a tuple; refuse anything else.

    Example:
        >>> given_shape("latent", [1, 16, 60, 104])
        (1, 16, 60, 104)
        >>> given_shape("latent", (16, 60, 104))
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: latent=(16, 60, 104): must be b c h w or b c t h w, in ints, or the tensor itself.
    """
    if not isinstance(shape, Collection) or isinstance(shape, str | bytes | Set) or len(shape) not in (4, 5):
        raise PlanError(f"{name}={shown(shape)}: must be b c h w or b c t h w, in ints, or the tensor itself.")
    for index, size in enumerate(shape):
        check_ints(1, **{f"{name}[{index}]": size})
    return tuple(shape)
