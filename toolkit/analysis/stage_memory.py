"""Memory of stages: what every rank holds, and what is divided among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from toolkit.errors import ToolkitError


@dataclass(frozen=True, slots=True)
class StageMemory:
    """The law ``M(P) = everywhere + divided / P``, in the unit that was given.

    Attributes:
        everywhere: what a rank holds however many there are: activations, and modules that are not in stages.
        divided: the layers, shared by P ranks.
        error: the largest difference from what was measured.
    """

    everywhere: float
    divided: float
    error: float

    def at(self, ranks: int) -> float:
        """What a rank holds where there are ``ranks`` of them."""
        return self.everywhere + self.divided / ranks


def fit_memory(measured: Mapping[int, float]) -> StageMemory:
    """Fit the law of a stage's memory by least squares.

    Args:
        measured: a rank's peak by the number of ranks; two or more, in any unit.

    Raises:
        ToolkitError: for fewer than two numbers of ranks, or one below 1.

    Example:
        Wan 2.2 on one, two and four devices, in GB as published: TI2V-5B, and A14B with its two transformers.

        >>> small = fit_memory({1: 52.0, 2: 47.4, 4: 44.9})
        >>> large = fit_memory({1: 76.6, 2: 50.3, 4: 37.2})
        >>> for fit in (small, large):
        ...     print(f"{fit.everywhere:.1f} + {fit.divided:.1f} / P, within {fit.error:.2f}")
        42.6 + 9.4 / P, within 0.09
        24.1 + 52.5 / P, within 0.02
        >>> round(large.at(8), 1)
        30.6
    """
    if len(measured) < 2 or min(measured) < 1:
        raise ToolkitError(f"memory at P = {sorted(measured)}: two numbers of ranks of at least 1 make a law.")
    ranks = np.array(sorted(measured), dtype=float)
    given = np.array([measured[int(count)] for count in ranks], dtype=float)
    terms = np.stack([np.ones_like(ranks), 1 / ranks], axis=1)
    (everywhere, divided), *_ = np.linalg.lstsq(terms, given, rcond=None)
    error = np.abs(terms @ [everywhere, divided] - given).max()
    return StageMemory(float(everywhere), float(divided), float(error))
