"""Calls: a function on some ranks, with models sent as needed and the workers repaired after a fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import nn

from toolkit.cluster.engines.engine_protocol import Engine
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.engines.parcel import Parcel, pack, unpack
from toolkit.cluster.engines.pool import Pool
from toolkit.cluster.engines.setup import Setup
from toolkit.cluster.engines.shelf import Identify, ModelRef, Shelf
from toolkit.cluster.unsendable import named
from toolkit.errors import ModelError, RunCancelled, RunError
from toolkit.runs.precision import Tf32
from toolkit.runs.surroundings import Surroundings

PLACE_LIMIT = 600.0
"""Seconds that workers have to place a model on their devices, where the run has no timeout."""

REGROUP_LIMIT = 5.0
"""Seconds that workers have to form a new group after a fault, before they are replaced."""


class Calls:
    """Calls functions on the workers of a pool.

    Args:
        setup: The set-up of every worker.
        engine: What starts the workers.
        identify: What tells whether a model has changed; see :class:`~toolkit.cluster.engines.shelf.Shelf`.

    Attributes:
        pool: The workers.
        where: What the records of all calls share.
    """

    def __init__(self, setup: Setup, engine: Engine, identify: Identify = "contents") -> None:
        self._everyone = range(setup.size)
        self._shelf = Shelf(identify)
        self.pool = Pool(setup, engine)
        self.where = Surroundings()

    def prepare(self, args: tuple[Any, ...], listener: Listener) -> tuple[Any, ...]:
        """Start the workers if there are none, send them the models that they lack, and refer to models by name.

        The listener's timeout covers the start and the sending, too.

        Raises:
            ModelError: If a model cannot be sent. The workers have heard nothing of it, and stay.
        """
        waiting = replace(listener, on_event=lambda event: None)

        def install(key: int, parcel: Parcel) -> None:
            listener.on_doing("sending the model")
            self.pool.send(self._everyone, "install", key, parcel)
            self.pool.listen(self._everyone, "installed", listener=waiting.within(PLACE_LIMIT))

        try:
            if not self.pool.running:
                listener.on_doing(f"starting {len(self._everyone)} ranks")
            self.pool.start(waiting)
            if stale := self._shelf.stale():
                self.pool.send(self._everyone, "drop", stale)
            return tuple(self._refer(arg, install) if isinstance(arg, nn.Module) else arg for arg in args)
        except ModelError:
            raise
        except BaseException:
            self.drop_workers()
            raise

    def _refer(self, model: nn.Module, install: Callable[[int, Parcel], None]) -> ModelRef:
        try:
            return self._shelf.refer(model, install)
        except Exception as error:
            # A model is pickled before anything of it is sent.
            found = named(error, model, type(model).__name__)
            raise found from (None if found is error else error)

    def call(
        self,
        ranks: Sequence[int],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        listener: Listener,
        *,
        wants_context: bool = False,
    ) -> dict[int, Any]:
        """Call a function on some ranks and collect what it returns, by rank. This process's TF32 settings go along.

        Args:
            ranks: The ranks to call; the others are left alone.
            function: The function; it may be one of the notebook's.
            args: Its arguments, as :meth:`prepare` returned them.
            kwargs: Its keyword arguments.
            listener: What happens to messages, and what ends the call early.
            wants_context: Whether the function takes the worker's context first.

        Raises:
            RunError: If a rank failed, died or was given up.
            PlanError: If an argument cannot be sent. The workers have heard nothing of it, and stay.
        """
        try:
            parcel = pack((function, wants_context, Tf32.current(), args, kwargs))
        except Exception as error:
            found = named(error, {"function": function, "arguments": args, **kwargs}, "call")
            raise found from (None if found is error else error)
        try:
            for rank, clock in self.pool.engine.clocks.items():
                self.pool.send([rank], "clock", clock.ahead)
            self.pool.send(ranks, "call", parcel)
            listener.on_doing("")
            del parcel  # its memory is the workers' now; an error's traceback would keep it here
            answers = self.pool.listen(ranks, "done", listener=listener)
            return {rank: unpack(answer) for rank, answer in answers.items()}
        except RunError as error:
            self._recover(error, listener)
            raise
        except BaseException:
            self.drop_workers()
            raise

    def placed(self) -> dict[str, Any]:
        """What a record says of where the ranks were: nothing, if all were on this machine."""
        engine = self.pool.engine
        if not engine.hosts:
            return {}
        clocks = {engine.hosts[rank]: asdict(clock) for rank, clock in engine.clocks.items()}
        return {"hosts": engine.hosts, "clocks": clocks}

    def drop_workers(self) -> None:
        """End the workers now; the next call starts new ones."""
        self.pool.kill()
        self._shelf.workers_are_new()

    def close(self) -> None:
        """End the workers, letting them finish what they do for a moment."""
        self.pool.stop()
        self._shelf.workers_are_new()

    def _recover(self, error: RunError, listener: Listener) -> None:
        """Keep the processes in a new group if all of them have answered; otherwise end them."""
        if not error.settled or isinstance(error, RunCancelled):
            self.drop_workers()
            return
        try:
            self.pool.regroup(Listener(timeout=REGROUP_LIMIT, interrupts=listener.interrupts))
        except RunError:
            self.drop_workers()
