"""Calls: one function on some ranks, models sent as needed, the workers set right after a fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from toolkit.cluster.engines.local.pool import Listener, Pool
from toolkit.cluster.engines.local.shelf import Shelf
from toolkit.cluster.engines.local.wire import Parcel, pack, unpack
from toolkit.cluster.engines.local.worker import Setup
from toolkit.errors import RunCancelled, RunError


class Calls:
    """Calls functions on the ranks of a pool.

    Args:
        setup: set-up of every worker.
        start: how processes are started.
    """

    def __init__(self, setup: Setup, start: str) -> None:
        self._everyone = range(setup.size)
        self._shelf = Shelf()
        self.pool = Pool(setup, start)

    def prepare(self, args: tuple[Any, ...], listener: Listener) -> tuple[Any, ...]:
        """Start workers where there are none, and replace models by references, sending what the workers lack."""
        waiting = Listener(interrupts=listener.interrupts, cancelled=listener.cancelled)

        def install(key: int, parcel: Parcel) -> None:
            self.pool.send(self._everyone, "install", key, parcel)
            self.pool.listen(self._everyone, "installed", waiting)

        try:
            if not self.pool.running:
                self.pool.start(waiting)
            if stale := self._shelf.stale():
                self.pool.send(self._everyone, "drop", stale)
            return tuple(self._shelf.refer(arg, install) if isinstance(arg, nn.Module) else arg for arg in args)
        except BaseException:
            self.drop_workers()
            raise

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
        """Call a function on some ranks and collect what it returns, by rank.

        Args:
            ranks: who is called; the others are left alone.
            function: the function, of an importable module or not.
            args: as :meth:`prepare` returned them.
            kwargs: its keyword arguments.
            listener: what is done with messages, and what ends the call.
            wants_context: whether the function takes the worker's context first.

        Raises:
            RunError: where a rank failed, died or was given up.
        """
        try:
            self.pool.send(ranks, "call", pack((function, wants_context, args, kwargs)))
            answers = self.pool.listen(ranks, "done", listener)
            return {rank: unpack(answer) for rank, answer in answers.items()}
        except RunError as error:
            self._recover(error, listener)
            raise
        except BaseException:
            self.drop_workers()
            raise

    def drop_workers(self) -> None:
        """End the workers now; the next call starts new ones."""
        self.pool.kill()
        self._shelf.workers_are_new()

    def close(self) -> None:
        """End the workers, letting them finish what they do for a moment."""
        self.pool.stop()
        self._shelf.workers_are_new()

    def _recover(self, error: RunError, listener: Listener) -> None:
        """Keep the processes where all have answered, in a new group; else end them."""
        if not error.settled or isinstance(error, RunCancelled):
            self.drop_workers()
            return
        try:
            self.pool.regroup(Listener(timeout=5.0, interrupts=listener.interrupts))
        except RunError:
            self.drop_workers()
