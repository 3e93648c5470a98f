"""Rehearsing an autoencoder's call: every rank's script is written, and the scripts are played together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import index
from typing import Unpack
from warnings import warn

from torch import Tensor

from toolkit.distributed.modes import fit
from toolkit.errors import PlanError
from toolkit.geometry.checks import MOST_CELLS, shown
from toolkit.geometry.plan import Plan, or_none, or_whole
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.topology import Topology
from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.input_check import check_input, check_shape
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.model_check import checked_model
from toolkit.models.autoencoders.options import OptionFields, Options
from toolkit.models.autoencoders.sharding import sharding_of
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.convolution import Convolutions
from toolkit.planning.rehearsing.alike import Lattice, Renaming, representatives
from toolkit.planning.rehearsing.costs import Costs
from toolkit.planning.rehearsing.fake_tensors_compat import device_without_data, without_data
from toolkit.planning.rehearsing.forecast import Forecast
from toolkit.planning.rehearsing.performance import play
from toolkit.planning.rehearsing.profile import Profile
from toolkit.planning.rehearsing.rehearsal import Rehearsal, rehearsal_of
from toolkit.planning.rehearsing.script import Script
from toolkit.planning.rehearsing.setting import device_type, links_of
from toolkit.planning.rehearsing.writing import Piece, Writer
from toolkit.runs.record import Record

UNIT = Profile.assume(operations=1e12, bandwidth=1e11)
"""Stands in for a profile where only the order of events matters."""
MOST_TURNS = 6
"""How often scripts that depend on times are written again at most."""
FEW_TURNS = 2
"""The same where only memory depends on times."""


def rehearse_autoencoder(
    model: Autoencoder,
    input_or_shape: Tensor | Sequence[int],
    plan: Plan | None = None,
    *,
    profile: Profile | None = None,
    topology: Topology | None = None,
    direction: DirectionName = "decode",
    device: str | None = None,
    convolutions: Convolutions = "onednn",
    stream: bool = False,
    options: Options | None = None,
    **changes: Unpack[OptionFields],
) -> Rehearsal:
    """Rehearse a decode or encode; see :func:`toolkit.rehearse`.

    Raises:
        PlanError: If the plan does not fit the input, or the input does not fit the model.
        ModelError: If the mode is not known to be right for the class, or what the model does depends on data.
        NotExact: If an operation cannot be sharded exactly; names the operation and the module.
    """
    way, call = or_whole(plan), ModelCall(Direction.of(direction), Options.of(options, changes))
    model = checked_model(model, call, way, weights=False)
    if isinstance(input_or_shape, Tensor):
        check_input(model, input_or_shape, call, values=False)
    shape = _shape_of(input_or_shape)
    check_shape(model, shape, call)
    found = fit(model, shape, plan=way, call=call, stream=stream)
    kind = device_type(model, device, profile)
    links = links_of(topology, profile, way.ranks)
    piece = Piece(model, shape, way, call, device_without_data(kind), convolutions, stream)
    with without_data():
        scripts = _scripts(piece, profile, links)
    dtype = str(next(model.parameters()).dtype)
    what = {
        "call": call.direction.value,
        "rehearsed": True,
        "ranks": way.ranks,
        "device": kind,
        "convolutions": convolutions,
    }
    made = Record.make(model, {}, plan=or_none(way), what={**what, "links": str(links)})
    record = replace(made, input={"shape": list(shape), "dtype": dtype})
    return rehearsal_of(
        scripts,
        plan=way,
        record=record,
        ratio=found.ratio,
        profile=profile,
        topology=links,
        streamed=found.shape if stream else (),
    )


def _scripts(piece: Piece, profile: Profile | None, topology: Topology) -> list[Script]:
    """Write all ranks' scripts; where they depend on what has arrived, again and again, until they stay the same."""
    write = Writer(piece)
    if isinstance(piece.plan, ShardPlan):
        return _shards(write, piece.plan)
    scripts = [write(rank) for rank in piece.plan.working]
    for _ in range(_turns(piece, profile)):
        costs = Costs(scripts, profile or UNIT)
        played = play(scripts, costs.seconds, post=costs.post, topology=topology, slowness=costs.slowness)
        again = [write(one.rank, Forecast(played.arrivals(one), costs)) for one in scripts]
        settled = all(new.steps == old.steps for new, old in zip(again, scripts, strict=True))
        scripts = again
        if settled:
            return scripts
    if piece.stream:
        warn(
            f"after {MOST_TURNS} turns the order of events still depends on what has arrived when: bands and memory of "
            "this rehearsal are those of the last turn.",
            stacklevel=3,
        )
    return scripts


def _turns(piece: Piece, profile: Profile | None) -> int:
    """How often scripts may be written again: bands and blends take what has arrived."""
    if piece.stream:
        return MOST_TURNS
    # Of tiles only the memory depends on it, and that little if it is right but for a few edges.
    return FEW_TURNS if profile is not None and len(piece.plan.working) > 1 else 0


def _shards(write: Writer, plan: ShardPlan) -> list[Script]:
    """Write the scripts of shards: one of each kind, the others by renaming."""
    piece = write.piece
    parts = sharding_of(piece.model, piece.call).parts(plan, piece.shape)
    like, lattice = representatives(plan, parts), Lattice(plan, parts)
    written = {rank: write(rank) for rank in dict.fromkeys(like.values())}
    return [
        written[source] if source == rank else Renaming(lattice, source=source, target=rank).script(written[source])
        for rank, source in like.items()
    ]


def _shape_of(given: Tensor | Sequence[int]) -> tuple[int, ...]:
    if isinstance(given, Tensor):
        return tuple(given.shape)
    try:
        shape = tuple(index(size) for size in given)
    except TypeError:
        raise PlanError(f"input_or_shape={shown(given)}: give the input of the call, or its shape.") from None
    if not shape or min(shape) < 1:
        raise PlanError(f"input_or_shape={shown(given)}: every size of a shape is at least 1.")
    if max(shape) > MOST_CELLS:
        raise PlanError(f"input_or_shape={shown(given)}: every size of a shape is at most {MOST_CELLS}.")
    return shape
