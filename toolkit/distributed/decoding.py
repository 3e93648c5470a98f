"""Decode and encode over the ranks of a process group.

Every rank of the group calls the same function with an equal model, input and plan. The plan's ranks are ranks of the
group; ranks beyond the plan's return at once.
"""

from __future__ import annotations

from typing import Unpack

from torch import Tensor
from torch.distributed import ProcessGroup

from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.modes import fit, mode_of
from toolkit.distributed.tiles.streaming import Stream
from toolkit.geometry.plan import Plan, or_whole
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.model_call import ModelCall
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
        vae: a diffusers autoencoder. It is left as it was found.
        latent: ``b c h w`` or ``b c t h w``, as ``vae.decode`` takes it.
        plan: how the work is divided; None: the model's own call, on rank 0.
        group: the group; None for the default one.
        options: How the model is called; None: :class:`toolkit.Options` with its defaults.
        trace: records what this rank did.
        convolutions: the kernels of small fp32 CPU convolutions, during this call; they decide the last bits.
        stream: with tiles of which at most two meet along an axis: called on the plan's root as ``stream(band, start)``
            with the sample in bands along the grid's first axis, in order, each as soon as no later tile can change
            it. No rank then holds the whole sample. Give it on all ranks; the bands are those of a run without, bit
            for bit.
        **changes: Fields of :class:`toolkit.Options` by name (``seed=3``); they replace those of ``options``.

    Returns:
        The sample on the plan's root, unless it was streamed; None on the other ranks.

    Raises:
        PlanError: on all ranks alike, where the plan does not fit the latent or has more ranks than the group.
        ModelError: on all ranks alike, where the mode is not known to be right for the class.
        NotExact: where an operation cannot be sharded exactly; it names operation and module.
        RankFailed: where another rank raised.

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
    return run(vae, latent, plan, call, group, trace=trace, convolutions=convolutions, stream=stream)


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
    """Encode a sample over the ranks of a process group; as :func:`decode`.

    Returns:
        The posterior's parameters (the latent, for classes without a posterior) on the plan's root, None on the other
        ranks. Draw from them there, once, with one generator.
    """
    call = ModelCall(Direction.ENCODE, Options.of(options, changes))
    return run(vae, sample, plan, call, group, trace=trace, convolutions=convolutions)


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
    """Make a model's call over a group by a plan; :func:`decode` and :func:`encode` end here.

    Ranks beyond the plan's return at once. All ranks check the plan alike, so either all raise or none does.
    """
    plan = or_whole(plan)
    member = Member.of(group)
    rank = Rank(member, FailureFlag(member.store, member.rank), trace or Recorder(member.rank), convolutions)
    with rank.failure.watch():
        plan.require_ranks(member.size, "group")
        fit(vae, tuple(x.shape), plan, call, stream=stream is not None)
        if member.rank >= plan.ranks:
            return None
        return mode_of(plan).run(vae, x, plan, call, rank, stream)
