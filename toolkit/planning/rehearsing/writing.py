"""Writing the scripts of all ranks: each rank's own SPMD function, on tensors without data, without the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.rank import Rank, Repeated, as_it_is
from toolkit.distributed.decoding import run_as
from toolkit.geometry.plan import Plan, PlanKind
from toolkit.models.autoencoders.autoencoder_table import recipe_of
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.protocols import Autoencoder
from toolkit.numerics.convolution import Convolutions
from toolkit.planning.rehearsing.answers_compat import Answers
from toolkit.planning.rehearsing.fake_tensors_compat import fake_copy
from toolkit.planning.rehearsing.forecast import Forecast
from toolkit.planning.rehearsing.known_values import KnownValues
from toolkit.planning.rehearsing.operator_call import TensorSpec
from toolkit.planning.rehearsing.repeats import RepeatMemory, Repeats
from toolkit.planning.rehearsing.scribe import Scribe, SectionMemory
from toolkit.planning.rehearsing.script import Script
from toolkit.planning.rehearsing.silent_transport import Correspondence
from toolkit.runs.trace import Recorder


@dataclass(frozen=True, slots=True)
class Piece:
    """A call to rehearse: what all ranks have in common.

    Attributes:
        model: The model.
        shape: The shape of the call's input.
        plan: How the call is divided.
        call: The model call to make.
        device: The device that tensors claim to be on.
        convolutions: The kernels of small fp32 CPU convolutions.
        stream: Whether the output is handed over in bands.
    """

    model: Autoencoder
    shape: tuple[int, ...]
    plan: Plan
    call: ModelCall
    device: torch.device
    convolutions: Convolutions
    stream: bool = False


class Writer:
    """Writes the scripts of a call's ranks, one after the other. Make and call it inside ``without_data``.

    Ranks share what does not depend on the rank: the model without data, which a call leaves as it was found, what
    operators return, and tiles of one size.

    Args:
        piece: The call.
    """

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self._values, self._answers, self._sections = KnownValues(), Answers(), SectionMemory()
        self._repeats = RepeatMemory()
        self._model = fake_copy(piece.model, piece.device, self._values)
        self._call = fake_copy(piece.call, piece.device, self._values)

    def __call__(self, rank: int, forecast: Forecast | None = None) -> Script:
        """Write the script of one rank.

        Args:
            rank: The rank.
            forecast: When messages arrive.
        """
        piece, call = self.piece, self._call
        # Rules of exact shards and statistics of all tiles are computed in many small operators, outside modules.
        ruled = piece.plan.kind is PlanKind.SHARDS or call.options.norm_passes
        around = "ruled_call" if ruled else "call"
        script = Script(rank, around=around)
        scribe = Scribe(script, self._values, piece.device, self._answers)
        # Ranks get the input in host memory.
        x = torch.empty(piece.shape, dtype=next(piece.model.parameters()).dtype)
        if piece.plan.kind is PlanKind.TILES and not call.options.norm_passes:
            call = _in_sections(call, piece.model, scribe, self._sections)
        stream = (lambda band, start: None) if piece.stream else None
        return write_script(
            lambda acting: run_as(acting, self._model, x, piece.plan, call, stream=stream),
            script,
            scribe,
            size=piece.plan.ranks,
            convolutions=piece.convolutions,
            messages=Correspondence(script, piece.device, lambda: scribe.live, forecast),
            repeated=Repeats(scribe, self._values, self._answers, self._repeats),
        )


def write_script(
    act: Callable[[Rank], Any],
    script: Script,
    scribe: Scribe,
    *,
    size: int,
    convolutions: Convolutions,
    messages: Correspondence,
    repeated: Repeated = as_it_is,
) -> Script:
    """Write down what one rank does. Call it inside ``without_data``.

    Args:
        act: The SPMD function, with everything but the rank. It returns None, a tensor or array, or a list of them.
        script: Where to write.
        scribe: Writes operators down.
        size: Number of ranks.
        convolutions: The kernels of small fp32 CPU convolutions.
        messages: Writes messages down.
        repeated: Writes down what the rank does again and again.
    """
    trace = Recorder(script.rank, 0.0, events=script.events, clock=lambda: float(len(script.steps)))
    member = Member(None, script.rank, size)
    flag = FailureFlag(None, script.rank)
    acting = Rank(member, flag, trace, convolutions, messages.transport, lambda _: 0, messages.device, repeated)
    with torch.no_grad(), scribe:
        output = act(acting)
        script.result = () if output is None else tuple(getattr(output, "shape", (len(output),)))
        # What is allocated at the end contains the output, as a run's memory does.
        scribe.close()
    return script


def _in_sections(call: ModelCall, model: Autoencoder, scribe: Scribe, memory: SectionMemory) -> ModelCall:
    """The same call, with tiles that are written as sections: tiles of one size do the same."""
    recipe = call.options.recipe or recipe_of(model)
    tile = recipe.tile(call.direction)

    def compute(vae: Any, part: Tensor, arguments: Any) -> Tensor:
        key = f"tile {call.direction}({TensorSpec.of(part)})"
        return scribe.section(key, lambda: call(vae, part) if tile is None else tile(vae, part, arguments), memory)

    decodes = call.direction is Direction.DECODE
    changed = replace(recipe, decode=compute) if decodes else replace(recipe, encode=compute)
    return replace(call, options=replace(call.options, recipe=changed))
