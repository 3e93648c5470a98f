"""Memory of stages: what every rank holds, and what is divided among ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry.checks import check_counts, check_kind, check_quantity, is_int, shown


@dataclass(frozen=True, slots=True)
class StageMemory:
    """The model ``M(P) = everywhere + divided / P``, in the unit of the measurements.

    Attributes:
        everywhere: Memory that every rank holds, whatever the number of ranks: activations, and modules outside stages.
        divided: Memory of the layers, shared by P ranks.
        error: Largest difference between the model and the measurements.
    """

    everywhere: float
    divided: float
    error: float

    def at(self, ranks: int) -> float:
        """The memory of each of ``ranks`` ranks."""
        check_counts(ranks=ranks)
        return self.everywhere + self.divided / ranks


def fit_memory(measured: Mapping[int, float]) -> StageMemory:
    """Fit the memory model of a stage by least squares.

    Args:
        measured: Peak of a rank by the number of ranks; at least two entries, in any unit.

    Raises:
        ToolkitError: If there are fewer than two numbers of ranks, or one is below 1.

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
    check_kind("measured", measured, kind=Mapping, remedy="a dict of peaks by the number of ranks")
    for count, peak in measured.items():
        if not is_int(count):
            raise PlanError(f"measured for {shown(count)} ranks: numbers of ranks must be ints of at least 1.")
        check_quantity(f"measured[{shown(count)}]", peak)
    if len(measured) < 2 or min(measured) < 1:
        raise ToolkitError(
            f"memory was measured for P = {sorted(measured)}, but a fit needs at least two numbers of ranks, each at "
            "least 1."
        )
    ranks = np.array(sorted(measured), dtype=float)
    given = np.array([measured[int(count)] for count in ranks], dtype=float)
    terms = np.stack([np.ones_like(ranks), 1 / ranks], axis=1)
    (everywhere, divided), *_ = np.linalg.lstsq(terms, given, rcond=None)
    error = np.abs(terms @ [everywhere, divided] - given).max()
    return StageMemory(float(everywhere), float(divided), float(error))
