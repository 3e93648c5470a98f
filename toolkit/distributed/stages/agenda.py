"""The agenda: calls that are pending, and when they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.call import Call
from toolkit.distributed.stages.engine import Engine
from toolkit.errors import ModelError


class Item(NamedTuple):
    """A pending call, and what computes it."""

    call: Call
    engine: Engine


class Agenda:
    """Pending calls of one pipeline: the first look at any result runs them all.

    Several transformers of the pipeline share one agenda.

    Args:
        rank: this process.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self._pending: list[Item] = []
        self._count = 0
        self._left = False
        self._steps = 0

    def begin(self, engine: Engine, args: tuple[object, ...], kwargs: dict[str, object]) -> Call:
        """Note a call of a transformer.

        Raises:
            ModelError: where other ranks have left the pipeline.
        """
        self.check_here(self._left)
        index, self._count = self._count, self._count + 1
        call = self.call_of(engine, args, kwargs, index)
        self._pending.append(Item(call, engine))
        return call

    def leave(self) -> None:
        """Note that from now on only one rank goes on with the pipeline."""
        self._left = True

    @staticmethod
    def check_here(left: bool) -> None:
        """Refuse a call for which the other ranks are not there any more."""
        if left:
            raise ModelError(
                "the pipeline calls its transformer again after vae.decode, when the other ranks have left it: only "
                'pipelines that decode at their end run in stages. Give output_type="latent", and decode with '
                "cluster.decode."
            )

    @staticmethod
    def call_of(
        engine: Engine, args: tuple[object, ...], kwargs: dict[str, object], index: int, request: int = 0
    ) -> Call:
        """A call with its place in the schedule."""
        branches = engine.plan.branches
        return Call(args, kwargs, index, request * branches + index % branches, index // branches)

    def settle(self, call: Call) -> None:
        """See to it that a call is done."""
        if call.done:
            return
        pending, self._pending = self._pending, []
        self._steps = number(pending, self._steps)
        with self.rank.failure.watch():
            run_through(pending)

    def close(self) -> None:
        """Run what nobody has looked at: other ranks may compute a part of it."""
        if self._pending:
            self.settle(self._pending[0].call)


def number(items: Sequence[Item], step: int, request: int = 0) -> int:
    """Name calls that were pending together: the branches of one step. Returns the next step's number."""
    for place, (call, engine) in enumerate(items):
        if engine.plan.schedule.overlap:
            call.step, call.branch = step, request * engine.plan.branches + place
    return step + 1


def run_through(items: Sequence[Item]) -> None:
    """Run calls in the order of the schedules: chunk by chunk, and all calls within a chunk; then take the results."""
    for lap in range(max(item.engine.laps for item in items)):
        compute(items, lap)
    for item in items:
        item.engine.finish(item.call)


def compute(items: Sequence[Item], lap: int) -> None:
    """Compute this rank's chunks of one lap."""
    for call, engine in items:
        if lap < engine.laps:
            engine.compute(call, lap)
