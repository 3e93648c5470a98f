"""Plans from options: tiles, shards, whole, or whichever can be predicted to be best."""

from __future__ import annotations

import argparse
from typing import Any

from torch import Tensor

from toolkit.distributed.comm.launched import launched_ranks
from toolkit.errors import PlanError
from toolkit.geometry import Assignment, Blend, ShardPlan, TileGrid, TilePlan
from toolkit.models.autoencoders.direction import DirectionName
from toolkit.models.autoencoders.recipes import recipe_of
from toolkit.models.autoencoders.shapes import output_shape
from toolkit.models.autoencoders.tiling import diffusers_grid
from toolkit.planning.choose import plan as choose

BLENDS = {"linear": Blend.linear, "cosine": Blend.cosine, "crop": Blend.crop, "diffusers": Blend.diffusers}
POLICIES = {
    "balanced": Assignment.balanced,
    "round_robin": Assignment.round_robin,
    "contiguous": Assignment.contiguous,
}


def add_plan_options(command: argparse.ArgumentParser) -> None:
    """What says how the work is divided."""
    ways = command.add_argument_group("how it is divided (without any: what can be predicted to be best)")
    one = ways.add_mutually_exclusive_group()
    one.add_argument("--tile", type=per_axis, help="tiles of this size in latent cells: 12, or h=12,w=16")
    one.add_argument("--own-tiles", action="store_true", help="the tiles of the class's own tiling, bit for bit")
    one.add_argument("--shards", type=lattice, help="exact shards along h and w: 2x1")
    one.add_argument("--whole", action="store_true", help="the model's own call, on rank 0")
    ways.add_argument("--overlap", type=per_axis, help="of tiles, in latent cells (default: a quarter of the tile)")
    ways.add_argument("--blend", choices=sorted(BLENDS), help="of tiles (default: linear)")
    ways.add_argument("--policy", choices=sorted(POLICIES), default="balanced", help="whose tile is whose")
    ways.add_argument("--memory", type=float, help="GB that a rank may hold, where the plan is chosen")
    ways.add_argument("--exact", action="store_true", help="choose among exact ways only")
    ways.add_argument("--dry-run", action="store_true", help="print the plan and run nothing")


def per_axis(text: str) -> int | dict[str, int]:
    """``12``, or ``h=12,w=16``.

    Example:
        >>> per_axis("12"), per_axis("h=12,w=16")
        (12, {'h': 12, 'w': 16})
    """
    if "=" not in text:
        return int(text)
    return {axis.strip(): int(size) for axis, size in (part.split("=") for part in text.split(","))}


def lattice(text: str) -> ShardPlan:
    """``2x1``: along h and w.

    Example:
        >>> lattice("2x1")
        ShardPlan(2 x 1 shards, borders exchanged, attention gathered)
    """
    h, w = map(int, text.split("x"))
    return ShardPlan(h=h, w=w)


def plan_of(options: argparse.Namespace, vae: Any, x: Tensor, direction: DirectionName, ranks: int) -> Any:
    """The plan that the options say; None: the model's own call.

    Raises:
        PlanError: where options do not go together, or do not fit the input.
    """
    tiled = options.tile is not None or options.own_tiles
    for name in ("overlap", "blend"):
        if getattr(options, name) is not None and not tiled:
            raise PlanError(f"--{name} without tiles: it is for --tile; add one, or leave it out.")
    if options.whole:
        return None
    if options.shards:
        return options.shards
    if tiled:
        return _tiles(options, vae, x, direction, ranks)
    if launched_ranks() is not None:
        raise PlanError(
            "no plan: each process would choose by what it measures itself. Choose once with --dry-run in one process, "
            "then say --tile, --own-tiles, --shards or --whole."
        )
    memory = None if options.memory is None else int(options.memory * 1e9)
    choice = choose(vae, x, ranks, memory, options.exact, direction=direction)
    print(choice)
    return choice.plan


def _tiles(options: argparse.Namespace, vae: Any, x: Tensor, direction: DirectionName, ranks: int) -> TilePlan:
    latent = tuple(x.shape) if direction == "decode" else output_shape(vae, recipe_of(vae), direction, x.shape)
    if options.own_tiles:
        if options.blend not in (None, "diffusers") or options.overlap is not None:
            raise PlanError("--own-tiles with --blend or --overlap: the class has its own; leave them out.")
        grid, blend = diffusers_grid(vae, latent, direction), Blend.diffusers()
    else:
        tile = options.tile if isinstance(options.tile, dict) else {"h": options.tile, "w": options.tile}
        sizes = dict(zip(("t", "h", "w"), latent[-3:], strict=True)) if len(latent) == 5 else {}
        sizes |= {"h": latent[-2], "w": latent[-1]}
        if strange := set(tile) - set(sizes):
            raise PlanError(f"--tile names {', '.join(sorted(strange))}: the latent has {', '.join(sizes)}.")
        overlap = {axis: size // 4 for axis, size in tile.items()} if options.overlap is None else options.overlap
        grid = TileGrid.cover({axis: sizes[axis] for axis in sizes if axis in tile}, tile, overlap)
        blend = BLENDS[options.blend or "linear"]()
    return TilePlan(grid, blend, POLICIES[options.policy](grid, ranks))
