"""What equals what: every class of the census, in every mode, against its reference.

Each check runs the real class on real ranks. Tiles are compared with the class's own tiled call if it has a sound one,
else with the same tiles on one rank; shards with the model's own call on the whole input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from toolkit.cluster import Cluster
from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry import Assignment, Blend, ShardPlan, TileGrid, TilePlan
from toolkit.geometry.checks import check_choice
from toolkit.models.autoencoders.autoencoder_table import recipe_of
from toolkit.models.autoencoders.census import CENSUS, Specimen
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.recipe import BOTH
from toolkit.models.autoencoders.small_tiles import with_small_tiles
from toolkit.models.autoencoders.tiling import diffusers_grid

RANKS = 4
SIZE = (5, 8)
SHARDS = {
    "shards 2x1": ShardPlan(h=2),
    "shards 2x2": ShardPlan(h=2, w=2),
    "no messages": ShardPlan(h=2, borders="recompute"),
}
OWN, WHOLE, ALONE = "its own tiled call", "its own call", "one rank"


@dataclass(frozen=True, slots=True)
class Check:
    """The comparison of one mode of one class with a reference.

    Attributes:
        name: The class, and its variant.
        direction: ``"decode"`` or ``"encode"``.
        mode: Tiles, or the kind of shards.
        dtype: Dtype of weights and input.
        reference: Name of the reference.
        error: Largest difference, relative to the reference's largest value; 0.0 means equal in every bit, None
            refused.
        reason: Why the mode is refused.
    """

    name: str
    direction: str
    mode: str
    dtype: str
    reference: str
    error: float | None
    reason: str = ""

    def __post_init__(self) -> None:
        check_choice("direction", self.direction, choices=BOTH)
        if (self.error is None) != bool(self.reason):
            raise PlanError(f"{self.name}, {self.mode}: a check has either an error or the reason why it is refused.")


def parity(
    names: Sequence[str] = (), dtypes: Sequence[str] = ("float32",), *, modes: Sequence[str] = ()
) -> pd.DataFrame:
    """Check classes of the census; one row per check.

    Args:
        names: Names in the census; empty means all.
        dtypes: Dtypes of weights and inputs.
        modes: ``"tiles"`` and names of :data:`SHARDS`; empty means all.
    """
    chosen = [CENSUS[name] for name in names] if names else list(CENSUS.values())
    with Cluster(RANKS, device="cpu", start="forkserver") as cluster:
        checks = [
            check
            for one in tqdm(chosen, desc="parity", unit="class", leave=False)
            for dtype in dtypes
            for direction in BOTH
            for check in _checks(cluster, one, direction=direction, dtype=dtype, modes=modes or ("tiles", *SHARDS))
        ]
    return pd.DataFrame(map(asdict, checks))


def _checks(
    cluster: Cluster, one: Specimen, *, direction: Direction, dtype: str, modes: Sequence[str]
) -> Iterator[Check]:
    vae = with_small_tiles(one).to(getattr(torch, dtype))
    x = (one.latent(*SIZE) if direction == "decode" else one.sample(*SIZE)).to(vae.dtype)
    given = one.call if direction == "decode" else {}
    arguments = {key: value.to(vae.dtype) if isinstance(value, Tensor) else value for key, value in given.items()}

    def run(plan: TilePlan | ShardPlan | None = None, seed: int = 0) -> Tensor:
        code = cluster.decode if direction == "decode" else cluster.encode
        return code(vae, x, plan, arguments=arguments, seed=seed, progress=False, memory=False).output

    # Tiles that use noise draw their own, so if the seed changes the output, it cannot equal the class's tiling.
    mirrored = direction in recipe_of(vae).mirrors and torch.equal(run(), run(seed=1))
    for mode in modes:
        reference = (OWN if mirrored else ALONE) if mode == "tiles" else WHOLE
        reason, error = "", None
        try:
            if mode != "tiles":
                error = _error(run(SHARDS[mode]), run())
            elif mirrored:
                error = _own_tiles(vae, diffusers_grid(vae, one.latent(*SIZE).shape, direction), run=run)
            else:
                error = _our_tiles(run)
        except ToolkitError as refusal:
            reason = str(refusal).splitlines()[0]
        yield Check(one.name, direction, mode, dtype, reference, error, reason)


def _own_tiles(vae: Any, grid: TileGrid, *, run: Callable[..., Tensor]) -> float:
    """Error of the class's own tiles over three ranks, against its own tiled call."""
    tiled = run(TilePlan(grid, Blend.diffusers(), Assignment.balanced(grid, 3)))
    vae.use_tiling = True
    own = run()
    vae.use_tiling = False
    return _error(tiled, own)


def _our_tiles(run: Callable[..., Tensor]) -> float:
    """Error of our tiles and blend over three ranks, against the same on one rank."""
    grid = TileGrid.cover(dict(zip("hw", SIZE, strict=True)), tile=4, overlap=1)
    return _error(*(run(TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks))) for ranks in (3, 1)))


def _error(output: Tensor, reference: Tensor) -> float:
    if output.shape != reference.shape or output.dtype != reference.dtype:
        return float("inf")
    return float((output.double() - reference.double()).abs().max() / reference.double().abs().max())


def as_text(table: pd.DataFrame) -> str:
    """The table as Markdown: one row per class and dtype, one column per mode and direction."""
    columns = [
        (mode, way) for mode in table["mode"].unique() for way in BOTH if (mode, way) != ("no messages", "encode")
    ]
    heads = ["class", "dtype", *(f"{mode}, {way}" for mode, way in columns)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for (name, dtype), rows in table.groupby(["name", "dtype"], sort=False):
        found = zip(rows["mode"], rows["direction"], rows["error"], rows["reference"], strict=True)
        cells = {(mode, way): _cell(error, str(reference)) for mode, way, error, reference in found}
        lines.append("| " + " | ".join([str(name), str(dtype), *(cells[column] for column in columns)]) + " |")
    return "\n".join(lines)


def _cell(error: float | None, reference: str) -> str:
    """``=`` for equal in every bit, in brackets if the only reference is one rank."""
    if error is None or pd.isna(error):
        return "no"
    shown = "=" if error == 0 else f"{error:.0e}"
    return f"({shown})" if reference == ALONE else shown
