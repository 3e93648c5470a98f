"""Decode and encode over the ranks of a process group.

Every rank of the group calls the same function with an equal model, input and plan. Rank ``i`` of the plan is rank
``i`` of the group. If the group has more ranks than the plan, the others return at once.
"""

from __future__ import annotations

from typing import Unpack

from torch import Tensor
from torch.distributed import ProcessGroup

from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.modes import fit, mode_of
from toolkit.distributed.tiles.streaming import Stream
from toolkit.geometry.plan import Plan, or_whole
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.input_check import check_input, warn_of_not_finite
from toolkit.models.autoencoders.mixed_dtypes import mixture_named
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.model_check import checked_model, notes_on
from toolkit.models.autoencoders.options import OptionFields, Options
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.convolution import Convolutions
from toolkit.runs.trace import Recorder


def decode(
    vae: Autoencoder,
    latent: Tensor,
    plan: Plan | None = None,
    group: ProcessGroup | None = None,
    *,
    options: Options | None = None,
    trace: Recorder | None = None,
    convolutions: Convolutions = "onednn",
    stream: Stream | None = None,
    **changes: Unpack[OptionFields],
) -> Tensor | None:
    """Decode a latent over the ranks of a process group. Without a group, the plan must be for one rank.

    Args:
        vae: A diffusers autoencoder. It is left as it was found.
        latent: The latent, ``b c h w`` or ``b c t h w``, as ``vae.decode`` takes it.
        plan: How the work is divided; None: the model's own call, on rank 0.
        group: The group; None: the default group.
        options: How the model is called; None: :class:`toolkit.Options` with its defaults.
        trace: Records what this rank does.
        convolutions: The kernels of small fp32 CPU convolutions during this call; they decide the last bits.
        stream: Called on the plan's root as ``stream(band, start)``, once for each band of the sample along the grid's
            first axis, in order, as soon as no later tile can change the band. No rank then holds the whole sample.
            Needs tiles of which at most two meet along an axis. Give it on all ranks. Joined together, the bands equal
            the output without ``stream``, bit for bit.
        **changes: Fields of :class:`toolkit.Options` by name (``seed=3``); they replace those of ``options``.

    Returns:
        The sample on the plan's root, unless it was streamed; None on the other ranks.

    Raises:
        PlanError: On all ranks alike, if the plan does not fit the latent or has more ranks than the group.
        ModelError: On all ranks alike, if the mode is not known to be right for the class.
        NotExact: If an operation cannot be sharded exactly; names the operation and the module.
        RankFailed: If another rank raised.

    Example:
        >>> import torch
        >>> from toolkit.geometry import Assignment, Blend, TilePlan
        >>> from toolkit.models import demo
        >>> from toolkit.models.autoencoders.tiling import diffusers_grid
        >>> vae = demo.image_vae()
        >>> latent = torch.zeros(1, 16, 40, 36)
        >>> grid = diffusers_grid(vae, latent.shape)
        >>> decode(vae, latent, TilePlan(grid, Blend.diffusers(), Assignment.balanced(grid, 1))).shape
        torch.Size([1, 3, 320, 288])
    """
    call = ModelCall(Direction.DECODE, Options.of(options, changes))
    return _checked(vae, latent, plan, call, group, trace=trace, convolutions=convolutions, stream=stream)


def encode(
    vae: Autoencoder,
    sample: Tensor,
    plan: Plan | None = None,
    group: ProcessGroup | None = None,
    *,
    options: Options | None = None,
    trace: Recorder | None = None,
    convolutions: Convolutions = "onednn",
    **changes: Unpack[OptionFields],
) -> Tensor | None:
    """Encode a sample over the ranks of a process group; the arguments are those of :func:`decode`.

    Returns:
        The posterior's parameters (the latent, for classes without a posterior) on the plan's root; None on the other
        ranks. Draw from them on the root, once, so that all later steps see the same latent.
    """
    call = ModelCall(Direction.ENCODE, Options.of(options, changes))
    return _checked(vae, sample, plan, call, group, trace=trace, convolutions=convolutions)


def _checked(
    vae: Autoencoder,
    x: Tensor,
    plan: Plan | None,
    call: ModelCall,
    group: ProcessGroup | None,
    *,
    trace: Recorder | None,
    convolutions: Convolutions,
    stream: Stream | None = None,
) -> Tensor | None:
    """As :func:`run`, after looking at the model and the input, which a cluster has done before it asks its ranks."""
    rank, way = Rank.of(group, trace, convolutions), or_whole(plan)
    with rank.failure.watch():
        model = checked_model(vae, call, way)
        check_input(model, x, call)
        if rank.member.rank == 0:
            # The caller of decode is three calls up.
            rank.trace.notes.update(notes_on(vae) | warn_of_not_finite(x, call, stacklevel=3))
    return run_as(rank, model, x, way, call, stream=stream)


def run(
    vae: Autoencoder,
    x: Tensor,
    plan: Plan | None,
    call: ModelCall,
    group: ProcessGroup | None = None,
    *,
    trace: Recorder | None = None,
    convolutions: Convolutions = "onednn",
    stream: Stream | None = None,
) -> Tensor | None:
    """Make a model's call over a group as a plan divides it; the model and the input have been looked at already.

    Args:
        vae: A diffusers autoencoder.
        x: The input of the call.
        plan: How the call is divided; None: the model's own call, on rank 0.
        call: The model call to make.
        group: The group; None: the default group.
        trace: Records what this rank does.
        convolutions: The kernels of small fp32 CPU convolutions.
        stream: Takes the output in bands; see :func:`decode`.
    """
    return run_as(Rank.of(group, trace, convolutions), vae, x, or_whole(plan), call, stream=stream)


def run_as(
    rank: Rank, vae: Autoencoder, x: Tensor, plan: Plan, call: ModelCall, *, stream: Stream | None = None
) -> Tensor | None:
    """What one rank does of :func:`run`; a rehearsal calls it for ranks that do not exist."""
    with rank.failure.watch():
        # Checked on ranks without work too. The checks depend on what all ranks have in common, so either all raise or
        # none does, and nobody waits for a rank that has given up.
        plan.require_ranks(rank.member.size, "group")
        fit(vae, tuple(x.shape), plan=plan, call=call, stream=stream is not None)
        rank.connect()
        if rank.member.rank >= plan.ranks:
            return None
        with mixture_named(vae):
            return mode_of(plan).run(vae, x, plan, call, rank, stream)
