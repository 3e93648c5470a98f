"""The engine of a staged transformer: this rank's chunks of it, and the links to other ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.group import Groups
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.call import Call
from toolkit.distributed.stages.link import Link
from toolkit.distributed.stages.places import Places
from toolkit.models.transformers.split_check import returned_by
from toolkit.models.transformers.stage import Stage
from toolkit.runs.device import synchronise
from toolkit.runs.trace import Event, Kind, Label, Recorder, clock

PURPOSES = ("stages", "results", "modules")
"""What messages are for; each has a group of its own."""


class Engine:
    """Computes this rank's part of a transformer's calls.

    Messages between stages and results have a group each, and so never wait for each other.

    Args:
        transformer: with weights at least where this rank computes.
        places: who does what.
        rank: this process, in the group of all that are told the results.
        groups: further groups of the same ranks.
        name: the transformer's, for the trace; empty where there is only one.

    Attributes:
        returned: what a call returns, as a tree of tensors, with ``return_dict`` or without, where it is known.
    """

    def __init__(self, transformer: nn.Module, places: Places, rank: Rank, groups: Groups, name: str = "") -> None:
        self.places, self.plan, self.rank, self.name = places, places.plan, rank, name
        self.stages = [Stage(transformer, self.plan.split.stages[chunk]) for chunk in places.chunks]
        self.device = next((p.device for p in transformer.parameters() if not p.is_meta), torch.device("cpu"))
        between, results = (groups.like(rank.member, purpose) for purpose in PURPOSES[:2])
        self._exchanges = [Exchange(one, rank.failure, rank.trace, self.device) for one in (between, results)]
        stages, self._results = self._exchanges
        alone = self.plan.mesh["pp"] == 1 or not self.stages
        self._before = None if alone else Link(stages, places.neighbour(-1))
        self._after = None if alone else Link(stages, places.neighbour(1))
        self._others: dict[tuple[int, int], Link] = {}
        known = returned_by(transformer)
        self.returned: dict[bool, Any] = {} if known is None else {False: known}

    @property
    def laps(self) -> int:
        """How often a call comes to each rank."""
        return self.plan.schedule.chunks

    def compute(self, call: Call, lap: int) -> None:
        """Compute this rank's chunk of a call in one lap around the ranks, and hand it on."""
        if not self.places.computes(call.index):
            return
        stage, chunk = self.stages[lap], self.places.chunks[lap]
        label = call.label(chunk, self.name)
        watch = _Watch(self.rank.trace, label)

        def receive() -> Any:
            with watch.paused():
                if self._before is None:
                    return call.payload
                return self._before.receive(call.form(chunk), call.digest, call.label(chunk - 1, self.name))

        with call.context():
            output = stage(None if stage.first else receive, *call.args, **call.kwargs)
            synchronise(self.device)
        watch.stop()
        if stage.last:
            call.result = output
            self._tell(call)
        elif self._after is None:
            call.payload = output
        else:
            self._after.send(output, call.form(chunk + 1), call.digest, label)

    def finish(self, call: Call) -> None:
        """Wait until a call's result is on this rank."""
        source = self.places.source(call.index)
        if source == self.places.me:
            call.finish(call.result)
        else:
            call.finish(
                self._link(source, self.places.me).receive(call.form(), call.digest, call.label(expert=self.name))
            )

    def _tell(self, call: Call) -> None:
        """Send a result to all other ranks, where this rank is the one to do so."""
        source = self.places.source(call.index)
        if source == self.places.me:
            for rank in range(self.places.size):
                if rank != source:
                    self._link(source, rank).send(call.result, call.form(), call.digest, call.label(expert=self.name))

    def _link(self, source: int, to: int) -> Link:
        if (source, to) not in self._others:
            self._others[source, to] = Link(self._results, to if source == self.places.me else source)
        return self._others[source, to]

    def close(self) -> None:
        """Wait until all that was sent has left, and end the links."""
        for exchange in self._exchanges:
            exchange.flush()
        self.abandon()

    def abandon(self) -> None:
        """End the links, after a failure."""
        for exchange in self._exchanges:
            exchange.close()


class _Watch:
    """Notes stretches of computing, without the waits between them."""

    def __init__(self, trace: Recorder, label: Label) -> None:
        self._trace, self._label, self._begin = trace, label, clock()

    def stop(self) -> None:
        origin = self._trace.origin
        self._trace.add(Event(self._trace.rank, Kind.STAGE, self._label, self._begin - origin, clock() - origin))

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.stop()
        yield
        self._begin = clock()
