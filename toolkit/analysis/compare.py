"""Comparisons: how far a run's output is from a reference, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from html import escape
from math import inf

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry.checks import check_kind, is_number, shown
from toolkit.geometry.grid import TileGrid
from toolkit.numerics.colour import colour_shift
from toolkit.numerics.metrics import check_same_shape, decibels, difference, frame_errors
from toolkit.numerics.sample_grid import sample_ratio
from toolkit.numerics.seams import SeamError, SeamProfile, per_seam, seam_profile
from toolkit.runs.run import Run


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """The difference between an output and a reference, measured on raw tensors.

    Attributes:
        name: Name of the output.
        reference: Name of the reference. No number here means anything without it.
        identical: Whether all values are equal; false if there is a NaN.
        max_abs: Largest absolute error.
        psnr: PSNR in dB over all frames together; ``inf`` if there is no error.
        ssim: SSIM, the mean over frames.
        colour_shift: Largest absolute shift of a tile's mean colour in any channel.
        per_frame: One row per frame, in the order ``(b t)``: frame, max_abs, psnr, ssim.
        per_seam: One row per seam: axis, position, tiles, mean, max, ratio to the interior, residual; None without a
            grid.
        per_tile: One row per tile and channel: tile, channel, shift of the mean colour. Without a grid, the whole
            output counts as one tile.
        error: Output minus reference, ``b c h w`` or ``b c t h w``, in float32 or wider.
        grid: Tiles of the output, in latent cells, or None.
        ratio: Sample cells per latent cell along each axis of the grid.
        samples: The output and the reference themselves, not copied.
    """

    name: str
    reference: str
    identical: bool
    max_abs: float
    psnr: float
    ssim: float
    colour_shift: float
    per_frame: pd.DataFrame
    per_seam: pd.DataFrame | None
    per_tile: pd.DataFrame
    error: Tensor
    grid: TileGrid | None
    ratio: Mapping[str, int]
    samples: tuple[Tensor, Tensor]

    @property
    def worst_seam(self) -> float | None:
        """The largest ratio of a seam's mean error to the interior's; None if there is no seam."""
        return None if self.per_seam is None or self.per_seam.empty else float(self.per_seam["ratio"].max())

    def seam_profile(self, axis: str, reach: int | None = None) -> SeamProfile:
        """The absolute error against the distance to the nearest seam along ``axis``.

        See :func:`toolkit.numerics.seams.seam_profile`.

        Raises:
            ToolkitError: If there is no grid, or no seam along ``axis``.
        """
        if self.grid is None:
            raise ToolkitError(
                "the comparison has no grid, and so no seams: pass the output's grid to compare(..., grid=)."
            )
        return seam_profile(self.error, self.grid, axis=axis, ratio=self.ratio, reach=reach)

    def to_dataframe(self) -> pd.DataFrame:
        """The main figures as one row, so that several comparisons can be stacked into a table."""
        return pd.DataFrame([{**self._figures(), "worst_seam": self.worst_seam}])

    def _figures(self) -> dict[str, str | bool | float]:
        names = ("name", "reference", "identical", "max_abs", "psnr", "ssim", "colour_shift")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {value}" for name, value in self._readable().items())
        return f"Comparison({self.name} vs {self.reference}: {figures})"

    def _readable(self) -> dict[str, str]:
        if self.identical:
            return {"identical": "yes, in every value"}
        figures = {
            "max |error|": f"{self.max_abs:.3g}",
            "PSNR": f"{self.psnr:.2f} dB",
            "SSIM": f"{self.ssim:.4f}",
            "colour shift": f"{self.colour_shift:.2g}",
        }
        if self.worst_seam is not None:
            figures["worst seam"] = f"{self.worst_seam:.2f}x the interior"
        return figures

    def _repr_html_(self) -> str:
        """A small table without colours or ids: it takes the page's style, and its HTML is always the same."""
        rows = {"output": self.name, "reference": self.reference, **self._readable()}
        left = 'style="text-align:left"'
        cells = "".join(
            f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(value)}</td></tr>" for name, value in rows.items()
        )
        return f"<table><tbody>{cells}</tbody></table>"


def compare(
    output: Run | Tensor,
    reference: Run | Tensor,
    grid: TileGrid | None = None,
    *,
    name: str | None = None,
    reference_name: str | None = None,
    data_range: float = 2.0,
) -> Comparison:
    """Compare an output with a reference. The numbers come from raw tensors, never from an encoded picture or video.

    Args:
        output: A run, or a tensor ``b c h w`` or ``b c t h w``.
        reference: A run or tensor of the same shape and dtype.
        grid: Tiles of the output, in latent cells; by default those of the run's plan.
        name: Name of the output; by default taken from the run's plan.
        reference_name: Name of the reference, such as ``"the model's own untiled decode"``; by default taken from the
            run's plan.
        data_range: Largest minus smallest possible value: 2.0 for samples in -1..1.

    Raises:
        ToolkitError: If shapes or dtypes differ, the grid does not fit the output, or ``data_range`` is not positive.

    Example:
        >>> sample = torch.zeros(1, 3, 32, 32)
        >>> compare(sample, sample, name="tiled", reference_name="untiled")
        Comparison(tiled vs untiled: identical yes, in every value)
        >>> compare(sample, sample + 0.5, name="tiled", reference_name="untiled").max_abs
        0.5
    """
    for role, given in (("name", name), ("reference_name", reference_name)):
        if given is not None and not isinstance(given, str):
            raise PlanError(f"{role}={shown(given)}: must be a word, or None for the plan of the run.")
    if grid is not None:
        check_kind("grid", grid, kind=TileGrid, remedy="a TileGrid, or None for that of the run's plan")
    if not is_number(data_range) or not 0 < data_range < inf:
        raise PlanError(f"data_range={shown(data_range)}: must be above 0, such as 2.0 for samples in -1..1.")
    a, b = _sample(output, "output"), _sample(reference, "reference")
    check_same_shape(a, b)
    if a.dtype != b.dtype:
        raise ToolkitError(
            f"the output is {a.dtype} and the reference {b.dtype}: dtypes must be equal; convert one explicitly, "
            f"for example with reference.to({a.dtype})."
        )
    errors, error = frame_errors(a, b, data_range=data_range), difference(a, b)
    if grid is None and isinstance(output, Run):
        grid = output.way.seam_grid
    ratio = {} if grid is None else sample_ratio(a.shape, grid)
    shifts = colour_shift(a, b, grid, ratio)
    return Comparison(
        name=name or _name(output, "an unnamed tensor"),
        reference=reference_name or _name(reference, "an unnamed reference"),
        identical=torch.equal(a, b),
        max_abs=float(torch.tensor([e.max_abs for e in errors], dtype=torch.float64).max()),
        psnr=decibels(sum(e.mse for e in errors) / len(errors), data_range),
        ssim=sum(e.ssim for e in errors) / len(errors),
        colour_shift=float(shifts.abs().max()),
        per_frame=pd.DataFrame(map(asdict, errors)).drop(columns="mse").rename_axis("frame").reset_index(),
        per_seam=None if grid is None else _seam_table(error, grid, ratio=ratio),
        per_tile=_shift_table(shifts),
        error=error,
        grid=grid,
        ratio=ratio,
        samples=(a, b),
    )


def _sample(value: Run | Tensor, role: str) -> Tensor:
    if isinstance(value, Run):
        return value.output
    if not isinstance(value, Tensor):
        raise ToolkitError(f"the {role} is of type {type(value).__name__}, but must be a Run or a Tensor.")
    return value


def _name(value: Run | Tensor, unnamed: str) -> str:
    return value.way.description if isinstance(value, Run) else unnamed


def _seam_table(error: Tensor, grid: TileGrid, *, ratio: Mapping[str, int]) -> pd.DataFrame:
    columns = [field.name for field in fields(SeamError)]
    return pd.DataFrame([astuple(seam) for seam in per_seam(error, grid, ratio=ratio)], columns=columns)


def _shift_table(shifts: Tensor) -> pd.DataFrame:
    tiles, channels = shifts.shape
    return pd.DataFrame(
        {
            "tile": np.repeat(np.arange(tiles), channels),
            "channel": np.tile(np.arange(channels), tiles),
            "shift": shifts.flatten().numpy(),
        }
    )
