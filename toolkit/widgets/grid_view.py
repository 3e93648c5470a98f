"""The drawing of a tile plan in an explorer: its grid, and the predicted cost of each rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.geometry.counting import in_bytes
from toolkit.geometry.drawing.html import bar, cell, chip, table, view, word
from toolkit.geometry.drawing.html_views import MOST_ROWS
from toolkit.geometry.drawing.svg_grid import draw_grid
from toolkit.geometry.tile_plan import TilePlan
from toolkit.planning.cost import CallCost

MOST_TILES = 32
"""Most tiles drawn along an axis; more than in a plan's own view, because here the picture is the point."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The prediction for a plan.

    Attributes:
        seconds: Computing time of each rank.
        whole: Seconds that one rank would take for the latent untiled.
        peaks: Peak bytes of each rank, without weights.
        weights: Bytes of the model's weights, which every rank holds as well.
    """

    seconds: tuple[float, ...]
    whole: float
    peaks: tuple[int, ...]
    weights: int

    @classmethod
    def of(cls, plan: TilePlan, cost: CallCost) -> Forecast:
        """Predict from the cost of a latent cell."""
        cells = 1
        for extent in plan.grid.extent.values():
            cells *= extent
        return cls(
            tuple(work * cost.seconds for work in plan.work),
            cells * cost.seconds,
            plan.peaks(cost.output_bytes, cost.working_bytes),
            cost.weight_bytes,
        )

    @property
    def slowest(self) -> float:
        """Seconds of the busiest rank."""
        return max(self.seconds)

    @property
    def peak(self) -> int:
        """Highest peak of any rank in bytes, without weights."""
        return max(self.peaks)


def grid_view(plan: TilePlan, forecast: Forecast) -> str:
    """A table with one line per rank, beside the grid coloured by rank."""
    facts = (
        f"{sentence(plan, forecast)}; one rank untiled {forecast.whole:.3g} s; each rank also holds "
        f"{in_bytes(forecast.weights)} of weights"
    )
    picture = draw_grid(
        plan.grid.axes,
        plan.grid.rows,
        owners=plan.assignment.owners,
        summary=f"Tiles of {_extent(plan)}, by rank: {facts}",
        most=MOST_TILES,
    )
    return view(
        "Tiles",
        facts,
        table=table(["rank", "tiles", "cells", "predicted", "peak"], _lines(plan, forecast)),
        picture=picture,
    )


def sentence(plan: TilePlan, forecast: Forecast) -> str:
    """A plan and its prediction in a few words."""
    return (
        f"{plan.summary}, {plan.blend}: {plan.grid.redundancy:.2f}x the work, imbalance {plan.imbalance:.2f}; "
        f"predicted {forecast.slowest:.3g} s, peak {in_bytes(forecast.peak)} per rank"
    )


def _lines(plan: TilePlan, forecast: Forecast) -> Sequence[Sequence[str]]:
    counts, work = plan.assignment.counts, plan.work
    lines = [
        [
            chip(rank),
            cell(counts[rank]),
            bar(work[rank], max(work)),
            cell(f"{forecast.seconds[rank]:.3g} s"),
            cell(in_bytes(forecast.peaks[rank])),
        ]
        for rank in range(min(plan.ranks, MOST_ROWS))
    ]
    if plan.ranks > MOST_ROWS:
        rest = range(MOST_ROWS, plan.ranks)
        tiles, cells = (sum(values[rank] for rank in rest) for values in (counts, work))
        lines.append([word(f"{len(rest)} more"), cell(tiles), cell(cells), cell(""), cell("")])
    return lines


def _extent(plan: TilePlan) -> str:
    return " x ".join(f"{axis} {size}" for axis, size in plan.grid.extent.items())
