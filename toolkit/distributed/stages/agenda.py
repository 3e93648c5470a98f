"""The agenda: which calls of a pipeline's transformers are pending, and in what order they run.

A pipeline calls its transformer once per guidance branch and step. Each call returns at once; the agenda runs all that
are pending when the pipeline first looks at a result. Two stages on two ranks, two branches (``F1`` is branch 1), and
time running to the right:

    the pipeline    call F0, call F1, look at F0's result
    rank 0          0F0  0F1
    rank 1               1F0  1F1          while rank 1 computes branch 0, rank 0 computes branch 1

With looped schedules a rank has several chunks of layers, so every call comes by several times: once per *lap*.

    rank 0          0F0  0F1  2F0  2F1     lap 0: chunks 0 and 1; lap 1: chunks 2 and 3
    rank 1               1F0  1F1  3F0  3F1

Why this cannot deadlock: all ranks run the same pipeline, so each has the same calls pending in the same order. Sort
all chunks of all calls by lap, then by call, then by rank. Every rank computes its own chunks in this order, and a
chunk needs only the output of the chunk before it, which comes earlier in the order. So the first chunk that is not
computed yet never has to wait. Results are taken last, when this rank's part of every call is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.deferred_call import DeferredCall
from toolkit.distributed.stages.engine import Engine
from toolkit.errors import ModelError


class Item(NamedTuple):
    """A pending call.

    Attributes:
        call: The call.
        engine: The engine of the transformer that was called.
    """

    call: DeferredCall
    engine: Engine


class Agenda:
    """The pending calls of one pipeline; the first look at any result runs them all.

    All transformers of the pipeline share one agenda.

    Args:
        rank: This process.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self._pending: list[Item] = []
        self._count = 0
        self._left = False
        self._steps = 0

    def begin(self, engine: Engine, args: tuple[object, ...], kwargs: dict[str, object]) -> DeferredCall:
        """Record a call of a transformer; it runs later.

        Raises:
            ModelError: If the other ranks have left the pipeline already.
        """
        self.check_here(self._left)
        index, self._count = self._count, self._count + 1
        call = self.call_of(engine, args, kwargs, index=index)
        self._pending.append(Item(call, engine))
        return call

    def leave(self) -> None:
        """Record that the pipeline decodes now: only one rank goes on with it, the others leave."""
        self._left = True

    @staticmethod
    def check_here(left: bool) -> None:
        """Refuse a call if the other ranks have left the pipeline and cannot compute their part of it.

        Raises:
            ModelError: If they have left.
        """
        if left:
            raise ModelError(
                "the pipeline calls its transformer again after vae.decode, when the other ranks have left it: only "
                'pipelines that decode at their end run in stages. Give output_type="latent", and decode with '
                "cluster.decode."
            )

    def call_of(
        self, engine: Engine, args: tuple[object, ...], kwargs: dict[str, object], *, index: int, request: int = 0
    ) -> DeferredCall:
        """Make a call that knows its place in the schedule.

        Args:
            engine: The engine of the transformer that was called.
            args: The positional arguments.
            kwargs: The keyword arguments.
            index: Number of calls that the request has made before, of any transformer.
            request: The request that makes the call.
        """
        # Pipelines call for one branch after the other, step by step: the index gives both.
        branches = engine.plan.branches
        branch = request * branches + index % branches
        return DeferredCall(args, kwargs, index, branch, index // branches, self.rank.read)

    def settle(self, call: DeferredCall) -> None:
        """Make sure that a call is done: run it, and all other pending calls, if it is not."""
        if call.done:
            return
        # Emptied first: if a deferred result is looked at meanwhile, that must not run the same calls again.
        pending, self._pending = self._pending, []
        self._steps = number(pending, self._steps)
        with self.rank.failure.watch():
            run_through(pending)

    def close(self) -> None:
        """Run the calls whose results nobody has looked at: other ranks wait for this rank's part of them."""
        if self._pending:
            self.settle(self._pending[0].call)


def number(items: Sequence[Item], step: int, *, request: int = 0) -> int:
    """Name calls that were pending together: they are the branches of one step.

    This corrects the guess of :meth:`Agenda.call_of` for pipelines that skip a branch in some steps.

    Args:
        items: The calls.
        step: The step that they belong to.
        request: The request that made them.

    Returns:
        The number of the next step.
    """
    for place, (call, engine) in enumerate(items):
        # Without overlap every call runs at once and alone, so calls that belong together are never pending together.
        if engine.plan.schedule.overlap:
            call.step, call.branch = step, request * engine.plan.branches + place
    return step + 1


def run_through(items: Sequence[Item]) -> None:
    """Run calls in the order of the schedule: lap by lap, within a lap call by call; take the results last."""
    for lap in range(max(item.engine.laps for item in items)):
        compute(items, lap)
    # Results are taken at the end, because to wait for one earlier would keep this rank from its next chunk.
    for item in items:
        item.engine.take_result(item.call)


def compute(items: Sequence[Item], lap: int) -> None:
    """Compute this rank's chunk of each call in one lap."""
    for call, engine in items:
        # Two transformers of one pipeline may have different numbers of chunks.
        if lap < engine.laps:
            engine.compute(call, lap)
