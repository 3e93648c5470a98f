"""The engine of a staged transformer: this rank's chunks of layers, and the links to the other ranks.

One call on three ranks, with one chunk each (``chunk 1`` runs layers 4 to 7, say):

    rank 0   chunk 0 --> output --.
    rank 1                        '--> chunk 1 --> output --.
    rank 2                                                  '--> chunk 2 --> result --> sent to all ranks
    all      take_result: every rank ends up with the result, because every rank runs the pipeline's code

Outputs travel in other process groups than results. A result is sent long before the other ranks take it, and messages
between two ranks arrive in order: in one group, it would hold up the outputs that are needed first. And what goes up
travels in another group than what comes down: see PURPOSES.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from toolkit.distributed.comm.group import Groups
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.deferred_call import DeferredCall
from toolkit.distributed.stages.hybrid import device_of
from toolkit.distributed.stages.link import Link
from toolkit.distributed.stages.places import Places
from toolkit.models.transformers.split_check import returned_by
from toolkit.models.transformers.stage import Stage
from toolkit.runs.device import synchronise
from toolkit.runs.trace import Event, Kind, Label, Recorder

PURPOSES = ("stages up", "stages down", "results up", "results down", "modules")
"""The purposes of messages; each has a process group of its own, so they never wait for each other.

*Up* is to a higher rank. A process group has one queue for each rank. In one queue, a rank that sends two outputs up
would hold up the receiver's own output, which comes down and is needed first.
"""


class Engine:
    """Computes this rank's chunks of a transformer's calls.

    Args:
        transformer: The transformer, with weights at least for this rank's chunks.
        places: Which rank does what.
        rank: This process, in the group of all ranks that get the results.
        groups: Further groups of the same ranks.
        name: The transformer's name for the trace; empty if the pipeline has only one.

    Attributes:
        returned: The structure of what a call returns, as far as it is known: by ``return_dict``, a tree of tensors.
    """

    def __init__(self, transformer: nn.Module, places: Places, *, rank: Rank, groups: Groups, name: str = "") -> None:
        self.places, self.plan, self.rank, self.name = places, places.plan, rank, name
        self.stages = [Stage(transformer, self.plan.split.stages[chunk]) for chunk in places.chunks]
        self._calls = [rank.repeated(stage) for stage in self.stages]
        self.device = rank.device or device_of(transformer.parameters())
        members = {purpose: groups.like(rank.member, purpose) for purpose in PURPOSES[:4]}
        self._exchanges = {purpose: rank.exchange(self.device, one) for purpose, one in members.items()}
        # A lone stage hands its output on to itself: see DeferredCall.payload.
        alone = self.plan.mesh["pp"] == 1 or not self.stages
        me = rank.member.rank
        self._before = None if alone else self._link("stages", places.neighbour(-1), me)
        self._after = None if alone else self._link("stages", me, places.neighbour(1))
        self._others: dict[tuple[int, int], Link] = {}
        known = returned_by(transformer)
        self.returned: dict[bool, Any] = {} if known is None else {False: known}

    @property
    def laps(self) -> int:
        """Number of times that a call comes to each rank."""
        return self.plan.schedule.chunks

    def compute(self, call: DeferredCall, lap: int) -> None:
        """Compute this rank's chunk of a call in one lap around the ranks, and pass its output on."""
        if not self.places.computes(call.index):
            return
        stage, chunk = self.stages[lap], self.places.chunks[lap]
        label = call.label(chunk, self.name)
        watch = _Watch(self.rank.trace, label)

        # The stage calls this when it comes to its first own layer. What the model's forward does before that, such as
        # embeddings, is computed on every rank and overlaps with the wait.
        def receive() -> Any:
            with watch.paused():
                if self._before is None:
                    return call.payload
                return self._before.receive(call.form(chunk), call.digest, call.label(chunk - 1, self.name))

        with call.context():
            output = self._calls[lap](None if stage.first else receive, *call.args, **call.kwargs)
            synchronise(self.device)
        watch.stop()
        if stage.last:
            call.result = output
            self._send_result(call)
        elif self._after is None:
            call.payload = output
        else:
            self._after.send(output, call.form(chunk + 1), call.digest, label)

    def take_result(self, call: DeferredCall) -> None:
        """Wait until a call's result is on this rank, and store it in the call."""
        source = self.places.source(call.index)
        if source == self.places.me:
            call.complete(call.result)
        else:
            link = self._result_link(source, self.places.me)
            call.complete(link.receive(call.form(), call.digest, call.label(expert=self.name)))

    def _send_result(self, call: DeferredCall) -> None:
        """Send a result to all other ranks, if this rank is the one that does so."""
        source = self.places.source(call.index)
        # With sp or tp several ranks compute the last chunk and hold the same result; one of them sends it.
        if source == self.places.me:
            for rank in range(self.places.size):
                if rank != source:
                    self._result_link(source, rank).send(
                        call.result, call.form(), call.digest, call.label(expert=self.name)
                    )

    def _link(self, what: str, source: int, to: int) -> Link:
        """Make a link from one rank to another, in the group of its direction."""
        exchange = self._exchanges[f"{what} {'up' if source < to else 'down'}"]
        return Link(exchange, to if source == self.places.me else source)

    def _result_link(self, source: int, to: int) -> Link:
        # One link per direction: both of its ends remember the forms of what came along it.
        if (source, to) not in self._others:
            self._others[source, to] = self._link("results", source, to)
        return self._others[source, to]

    def close(self) -> None:
        """Wait until everything sent has left, and end the links."""
        for exchange in self._exchanges.values():
            exchange.flush()
        self.abandon()

    def abandon(self) -> None:
        """End the links after a failure, without waiting for what was sent."""
        for exchange in self._exchanges.values():
            exchange.close()


class _Watch:
    """Records stretches of compute time in the trace, without the waits between them."""

    def __init__(self, trace: Recorder, label: Label) -> None:
        self._trace, self._label, self._begin = trace, label, trace.now()

    def stop(self) -> None:
        self._trace.add(Event(self._trace.rank, Kind.STAGE, self._label, self._begin, self._trace.now()))

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.stop()
        yield
        self._begin = self._trace.now()
