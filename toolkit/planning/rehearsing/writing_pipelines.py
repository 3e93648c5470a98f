"""Writing the scripts of a pipeline's call: the unmodified pipeline, on tensors without data, on all ranks together."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import torch
from torch import nn

from toolkit.distributed.comm.group import Groups, Member
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.generating import generate_as
from toolkit.errors import PlanError
from toolkit.geometry.stage_plan import Plans
from toolkit.numerics.convolution import Convolutions
from toolkit.planning.rehearsing.answers_compat import Answers
from toolkit.planning.rehearsing.ensemble import Ensemble, Letters
from toolkit.planning.rehearsing.fake_tensors_compat import WithoutNumbers, fake_copy, without_data
from toolkit.planning.rehearsing.known_values import KnownValues
from toolkit.planning.rehearsing.repeats import RepeatMemory, Repeats
from toolkit.planning.rehearsing.scribe import Scribe
from toolkit.planning.rehearsing.script import Script
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
    """

    pipe: Any
    plans: Plans | None
    call: Mapping[str, Any]
    requests: Sequence[Mapping[str, Any]] | None
    device: torch.device
    convolutions: Convolutions

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return 1 if self.plans is None else next(iter(self.plans.values())).ranks

    def scripts(self) -> list[Script]:
        """Write the scripts of all ranks."""
        answers, repeats = Answers(), RepeatMemory()
        write = partial(self._write, answers, repeats)
        with without_data():
            return Ensemble({rank: partial(write, rank) for rank in range(self.ranks)}).scripts()

    def _write(self, answers: Answers, repeats: RepeatMemory, rank: int, mail: Letters, values: KnownValues) -> Script:
        script = Script(rank, around="pipeline_call")
        scribe = Scribe(script, values, self.device, answers)
        pipe = self._copy(values)
        calls = [fake_copy({**self.call, **more}, self.device, values) for more in self.requests or [{}]]
        with WithoutNumbers(self.device, values):
            return write_script(
                lambda acting: self._act(acting, pipe, calls),
                script,
                scribe,
                size=self.ranks,
                convolutions=self.convolutions,
                messages=Correspondence(script, self.device, lambda: scribe.live, mail=mail),
                repeated=Repeats(scribe, values, answers, repeats),
            )

    def _act(self, rank: Rank, pipe: Any, calls: Sequence[Mapping[str, Any]]) -> Any:
        if self.plans is not None:
            results = generate_as(rank, pipe, self.plans, _SilentGroups(), calls)
        else:
            with rank.trace(Kind.WHOLE, Label(text=type(pipe).__name__)):
                results = [pipe(**calls[0])]
        main = [one[0] for one in results or ()]
        return (main or None) if self.requests else next(iter(main), None)

    def _copy(self, values: KnownValues) -> Any:
        """The pipeline with modules whose tensors have no data, for one rank: a rank changes them during a call."""
        twin = copy.copy(self.pipe)
        for name, part in self.pipe.components.items():
            if isinstance(part, nn.Module) or hasattr(part, "config"):
                setattr(twin, name, fake_copy(part, self.device, values))
        twin.set_progress_bar_config(disable=True)
        return twin


class _SilentGroups(Groups):
    """Groups of ranks that do not exist."""

    def like(self, member: Member, purpose: str) -> Member:
        """This rank's place in the group for a purpose."""
        return Member(None, member.rank, member.size, purpose)

    def among(self, member: Member, lines: tuple[tuple[int, ...], ...]) -> NoReturn:
        """No collectives are rehearsed.

        Raises:
            PlanError: Always.
        """
        raise PlanError(
            f"ranks {lines[0]} share a stage (sp or tp): the collectives among them are not rehearsed yet. Use a plan "
            "without sp and tp, or measure a run."
        )
