"""Writing the scripts of a pipeline's call: the unmodified pipeline, on tensors without data, on all ranks together."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from toolkit.distributed.comm.group import Groups, Member
from toolkit.distributed.comm.line import Line
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.comm.silent_group_compat import SilentGroups
from toolkit.distributed.generating import generate_as
from toolkit.distributed.stages.assembly import transformers_on
from toolkit.distributed.stages.hybrid import cut
from toolkit.geometry.stage_plan import Plans
from toolkit.numerics.convolution import Convolutions
from toolkit.planning.rehearsing.answers_compat import Answers
from toolkit.planning.rehearsing.ensemble import Ensemble, Letters
from toolkit.planning.rehearsing.fake_tensors_compat import WithoutNumbers, fake_copy, without_data
from toolkit.planning.rehearsing.known_values import KnownValues
from toolkit.planning.rehearsing.repeats import RepeatMemory, Repeats
from toolkit.planning.rehearsing.scribe import Scribe
from toolkit.planning.rehearsing.script import Script
from toolkit.planning.rehearsing.silent_line import SilentLines
from toolkit.planning.rehearsing.silent_transport import Correspondence
from toolkit.planning.rehearsing.writing import write_script
from toolkit.runs.trace import Kind, Label


@dataclass(frozen=True, slots=True)
class PipelinePiece:
    """A pipeline's call to rehearse: what all ranks have in common.

    Attributes:
        pipe: The pipeline.
        plans: The plan of each transformer; None: the pipeline's own call.
        call: The arguments of the call.
        requests: What each of several calls has beside them; None: there is only one.
        device: The device that tensors claim to be on.
        convolutions: The kernels of small fp32 CPU convolutions.
        in_folder: Whether each rank loads its part from a folder: then it holds no more than its own part of weights
            that ranks share.
    """

    pipe: Any
    plans: Plans | None
    call: Mapping[str, Any]
    requests: Sequence[Mapping[str, Any]] | None
    device: torch.device
    convolutions: Convolutions
    in_folder: bool = False

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return 1 if self.plans is None else next(iter(self.plans.values())).ranks

    def scripts(self) -> list[Script]:
        """Write the scripts of all ranks."""
        answers, repeats = Answers(), RepeatMemory()
        with without_data(), closing(SilentGroups()) as groups:
            write = partial(self._write, answers, repeats, groups)
            return Ensemble({rank: partial(write, rank) for rank in range(self.ranks)}).scripts()

    def _write(
        self,
        answers: Answers,
        repeats: RepeatMemory,
        groups: SilentGroups,
        rank: int,
        mail: Letters,
        values: KnownValues,
    ) -> Script:
        script = Script(rank, around="pipeline_call")
        lines = SilentLines(script, values, mail, groups)
        scribe = Scribe(script, values, self.device, answers, lines.share)
        pipe = self._copy(rank, values)
        calls = [fake_copy({**self.call, **more}, self.device, values) for more in self.requests or [{}]]
        with WithoutNumbers(self.device, values):
            return write_script(
                lambda acting: self._act(acting, pipe, calls, lines),
                script,
                scribe,
                size=self.ranks,
                convolutions=self.convolutions,
                messages=Correspondence(script, self.device, lambda: scribe.live, mail=mail),
                repeated=Repeats(scribe, values, answers, repeats),
            )

    def _act(self, rank: Rank, pipe: Any, calls: Sequence[Mapping[str, Any]], lines: SilentLines) -> Any:
        if self.plans is not None:
            results = generate_as(rank, pipe, self.plans, _SilentGroups(lines), calls)
        else:
            with rank.trace(Kind.WHOLE, Label(text=type(pipe).__name__)):
                results = [pipe(**calls[0])]
        main = [one[0] for one in results or ()]
        return (main or None) if self.requests else next(iter(main), None)

    def _copy(self, rank: int, values: KnownValues) -> Any:
        """The pipeline with modules whose tensors have no data, for one rank: a rank changes them during a call."""
        twin = copy.copy(self.pipe)
        for name, part in self.pipe.components.items():
            if isinstance(part, nn.Module) or hasattr(part, "config"):
                setattr(twin, name, fake_copy(part, self.device, values))
        if self.in_folder and self.plans:
            for name in transformers_on(rank, self.plans):
                setattr(twin, name, cut(getattr(twin, name), self.plans[name], rank))
        twin.set_progress_bar_config(disable=True)
        return twin


class _SilentGroups(Groups):
    """Groups of ranks that do not exist.

    Args:
        lines: The lines of the rank.
    """

    def __init__(self, lines: SilentLines) -> None:
        super().__init__()
        self._lines = lines

    def like(self, member: Member, purpose: str) -> Member:
        """This rank's place in the group for a purpose."""
        return Member(None, member.rank, member.size, purpose)

    def among(self, member: Member, lines: tuple[tuple[int, ...], ...]) -> Line | None:
        """The line that this rank is on; None if it is on none."""
        mine = next((line for line in lines if member.rank in line), None)
        return None if mine is None else self._lines.line(mine)
