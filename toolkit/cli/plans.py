"""Plans from options: tiles, shards, the model's own call, or the choice predicted to be best."""

from __future__ import annotations

import argparse
from typing import Any

from torch import Tensor

from toolkit.cli.values import amount, lattice, per_axis
from toolkit.distributed.comm.launched import launched_ranks
from toolkit.errors import PlanError
from toolkit.geometry import Assignment, Blend, TileGrid, TilePlan, Topology
from toolkit.models.autoencoders.autoencoder_table import recipe_of
from toolkit.models.autoencoders.direction import DirectionName
from toolkit.models.autoencoders.shapes import output_shape
from toolkit.models.autoencoders.tiling import diffusers_grid
from toolkit.planning.choose import plan as choose
from toolkit.planning.rehearsing.profile import Profile

BLENDS = {"linear": Blend.linear, "cosine": Blend.cosine, "crop": Blend.crop, "diffusers": Blend.diffusers}
POLICIES = {
    "balanced": Assignment.balanced,
    "round_robin": Assignment.round_robin,
    "contiguous": Assignment.contiguous,
}


def add_plan_options(command: argparse.ArgumentParser) -> None:
    """Add the options that say how to divide the work."""
    ways = command.add_argument_group("how to divide the work (default: the plan predicted to be best)")
    one = ways.add_mutually_exclusive_group()
    one.add_argument("--tile", type=per_axis(1), help="tile size in latent cells, such as 12, or 12x16 along h and w")
    one.add_argument("--own-tiles", action="store_true", help="the tiles of the class's own tiling, bit for bit")
    one.add_argument("--shards", type=lattice, help="exact shards along h and w, such as 2x1")
    one.add_argument("--whole", action="store_true", help="the model's own call, on rank 0")
    ways.add_argument(
        "--overlap", type=per_axis(0), help="overlap of tiles in latent cells (default: a quarter of a tile)"
    )
    ways.add_argument("--blend", choices=sorted(BLENDS), help="how tiles are blended (default: linear)")
    ways.add_argument(
        "--policy",
        choices=sorted(POLICIES),
        default="balanced",
        help="how tiles are assigned to ranks (default: %(default)s)",
    )
    ways.add_argument("--memory", type=amount, help="GB that a rank may use, if the plan is chosen automatically")
    ways.add_argument("--exact", action="store_true", help="choose among exact plans only")


def plan_from(
    options: argparse.Namespace,
    vae: Any,
    *,
    x: Tensor,
    direction: DirectionName,
    ranks: int,
    profile: Profile | None = None,
    topology: Topology | None = None,
) -> Any:
    """The plan given by the options; None means the model's own call.

    Args:
        options: The options of :func:`add_plan_options`.
        vae: The model.
        x: The input of the call.
        direction: The model call to make.
        ranks: Number of ranks.
        profile: What operators cost, if the plan is chosen automatically; None: measured here.
        topology: The links between ranks, for the same; None: the profile's.

    Raises:
        PlanError: If the options contradict each other, or do not fit the input.
    """
    tiled = options.tile is not None or options.own_tiles
    for name in ("overlap", "blend"):
        if getattr(options, name) is not None and not tiled:
            raise PlanError(f"--{name} only applies to tiles: add --tile, or leave it out.")
    if options.whole:
        return None
    if options.shards:
        return options.shards
    if tiled:
        return _tiles(options, vae, x=x, direction=direction, ranks=ranks)
    if launched_ranks() is not None:
        raise PlanError(
            "under torchrun the plan cannot be chosen automatically, because each process would choose by its own "
            "measurements: choose once with --dry-run in one process, then give --tile, --own-tiles, --shards or "
            "--whole."
        )
    memory = None if options.memory is None else int(options.memory * 1e9)
    shape, links = tuple(x.shape), topology
    choice = choose(vae, shape, ranks, memory, options.exact, direction=direction, profile=profile, topology=links)
    print(choice)
    return choice.plan


def _tiles(options: argparse.Namespace, vae: Any, *, x: Tensor, direction: DirectionName, ranks: int) -> TilePlan:
    latent = (
        tuple(x.shape)
        if direction == "decode"
        else output_shape(vae, recipe_of(vae), direction=direction, shape=x.shape)
    )
    if options.own_tiles:
        if options.blend not in (None, "diffusers") or options.overlap is not None:
            raise PlanError("--own-tiles uses the class's own blend and overlap: leave --blend and --overlap out.")
        grid, blend = diffusers_grid(vae, latent, direction), Blend.diffusers()
    else:
        tile = options.tile if isinstance(options.tile, dict) else {"h": options.tile, "w": options.tile}
        sizes = dict(zip(("t", "h", "w"), latent[-3:], strict=True)) if len(latent) == 5 else {}
        sizes |= {"h": latent[-2], "w": latent[-1]}
        if strange := set(tile) - set(sizes):
            raise PlanError(
                f"--tile names the axis {', '.join(sorted(strange))}, but the latent has only {', '.join(sizes)}."
            )
        overlap = {axis: size // 4 for axis, size in tile.items()} if options.overlap is None else options.overlap
        grid = TileGrid.cover({axis: sizes[axis] for axis in sizes if axis in tile}, tile, overlap)
        blend = BLENDS[options.blend or "linear"]()
    return TilePlan(grid, blend, POLICIES[options.policy](grid, ranks))
