"""A small random latent both ways, once: cheap insurance before a model is trusted to exact shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from toolkit.cluster.cluster import Cluster
from toolkit.distributed.shards.try_out import noise_on_a_slope, relative_error
from toolkit.errors import NotExact, RankFailed
from toolkit.geometry.shard_plan import AXES, LEAST, ShardPlan
from toolkit.models.autoencoders.autoencoder_table import recipe_of
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.shapes import output_shape
from toolkit.models.autoencoders.sharding import shards_refused
from toolkit.models.autoencoders.stated import stated
from toolkit.models.protocols import Autoencoder
from toolkit.runs.precision import Precision
from toolkit.runs.run import Run


def self_check(
    vae: Autoencoder,
    plan: ShardPlan,
    cluster: Cluster | None = None,
    *,
    frames: int = 5,
    arguments: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Decode and encode a few cells by ``plan`` and by the model's own call, and compare.

    Args:
        vae: a diffusers autoencoder.
        plan: the shards that are to be trusted.
        cluster: where to run; None: processes started for this.
        frames: latent frames, for video models.
        arguments: further arguments of ``vae.decode``.
        seed: of the latent, the sample, and what the model draws.

    Returns:
        One row per direction, with its largest error over its largest value, the bound, and the precision in force,
        which the bound belongs to. A direction in which the class is known not to be shardable, or which the plan does
        not serve, is left out.

    Raises:
        NotExact: where an error is larger than rounding.
        ToolkitError: where the model cannot be sharded, with the reason.

    Example:
        >>> from toolkit.models.autoencoders.census import specimen
        >>> with Cluster(2, device="cpu", start="forkserver") as two:
        ...     table = self_check(specimen("AutoencoderKLWan_2.1").build(), ShardPlan(h=2), two)
        >>> table.index.tolist(), bool((table["relative error"] < 1e-5).all())
        (['decode', 'encode'], True)
    """
    rows = {}
    with ExitStack() as stack:
        ranks = cluster or stack.enter_context(Cluster(plan.ranks))
        # With the workers' settings, which are not this process's.
        precision = ranks.run(Precision.of, next(vae.parameters()).dtype, ranks.device.type)[0]
        for direction, x in _inputs(vae, plan, frames=frames, seed=seed).items():
            code = ranks.decode if direction == "decode" else ranks.encode
            given = arguments if direction == "decode" else None
            own, sharded = (_output(code, vae, x, plan=which, arguments=given, seed=seed) for which in (None, plan))
            error = {"relative error": relative_error(sharded, own), "bound": precision.rounding}
            rows[direction.value] = {**error, "precision": precision.name}
    table = pd.DataFrame.from_dict(rows, orient="index")
    wrong = table[~(table["relative error"] <= table["bound"])]
    if len(wrong):
        raise NotExact(
            f"{type(vae).__name__} by {plan!r} is not the model's own {' or '.join(wrong.index)}: relative error "
            f"{wrong['relative error'].max():.1e}, rounding of {wrong['precision'].iloc[0]} explains "
            f"{wrong['bound'].max():.0e}. Use tiles, and please "
            "report the class."
        )
    return table


def _output(code: Callable[..., Run], vae: Autoencoder, x: Tensor, **how: Any) -> Tensor:
    try:
        return code(vae, x, **how, progress=False, memory=False).output
    except RankFailed as error:
        # Ranks try out a model with code of its own before they make the call.
        if error.summary.startswith(NotExact.__name__):
            raise NotExact(error.summary.partition(": ")[2]) from error
        raise


def _inputs(vae: Autoencoder, plan: ShardPlan, *, frames: int, seed: int) -> dict[Direction, Tensor]:
    """A latent whose shards are as small as can be and not all alike, and the sample that it would decode to."""
    weight = next(vae.parameters())
    recipe = recipe_of(vae)
    cells = [LEAST * plan.divisions[axis] + 1 for axis in AXES]
    channels = int(stated(vae, "latent_channels", "z_dim", "z_channels") or 4)
    latent = (1, channels, *([frames] if recipe.frames else []), *cells)
    sample = output_shape(vae, recipe, direction="decode", shape=latent)
    if recipe.time_first:
        sample = (sample[0], sample[2], sample[1], *sample[3:])
    noise = torch.Generator().manual_seed(seed)
    shapes: dict[Direction, tuple[int, ...]] = {Direction.DECODE: latent, Direction.ENCODE: sample}
    served = {way: shape for way, shape in shapes.items() if shards_refused(vae, way) is None}
    if plan.borders == "recompute":
        served.pop(Direction.ENCODE, None)
    return {way: noise_on_a_slope(shape, noise).to(weight.dtype) for way, shape in served.items()}
