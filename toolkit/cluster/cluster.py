"""Clusters: ranks that a notebook starts, uses again and again, and leaves nothing of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Self, overload

import torch
from torch import Tensor

from toolkit.cluster.calls import Calls
from toolkit.cluster.coding import Plan, Request
from toolkit.cluster.interrupts import deferred
from toolkit.cluster.job import Job
from toolkit.cluster.pool import Listener
from toolkit.cluster.progress import Progress
from toolkit.cluster.stream import Sink, sink_of
from toolkit.cluster.worker import Setup
from toolkit.distributed.group import backend_of
from toolkit.distributed.sharding.context import Rule
from toolkit.errors import PlanError, RunError, ToolkitError
from toolkit.measure import device as devices
from toolkit.measure import trace as traces
from toolkit.measure.run import Run
from toolkit.measure.trace import Event
from toolkit.models.recipe import Recipe
from toolkit.models.whole import Call, ambient_autocast
from toolkit.numerics.convolution import Convolutions, convolution_kernels


class Cluster:
    """A number of ranks, one process each, started from this process and ended with it.

    Workers start when first needed and persist: a model is sent once and again only when it has changed. They are
    spawned, so a program that uses a cluster keeps its own work under ``if __name__ == "__main__":``; a notebook needs
    nothing. A fault in a run ends the run everywhere and leaves the cluster usable.

    Args:
        ranks: number of ranks.
        device: ``"cpu"``, an accelerator's type, or one device for all ranks; None: the accelerator where there is one.
        backend: the process group's; None: gloo on the CPU and where ranks share a device (messages then pass through
            the host), the device's own otherwise.
        threads: CPU threads of each rank.
        start: ``"spawn"``, or ``"forkserver"``: much quicker to start, for the CPU only.
        convolutions: ``"onednn"`` keeps small fp32 CPU convolutions out of a slow kernel; ``"aten"`` leaves the choice.
        keep_memory: let CPU workers keep freed buffers for reuse instead of handing them back at once.
        timeout: seconds after which an operation between ranks gives up.

    Example:
        >>> with Cluster(ranks=2, start="forkserver") as cluster:
        ...     cluster.run(lambda x: x + 1, 1)
        [2, 2]
    """

    def __init__(
        self,
        ranks: int,
        device: str | None = None,
        backend: str | None = None,
        threads: int = 1,
        *,
        start: Literal["spawn", "forkserver"] = "spawn",
        convolutions: Convolutions = "onednn",
        keep_memory: bool = True,
        timeout: float = 1800.0,
    ) -> None:
        for name, value in (("ranks", ranks), ("threads", threads)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PlanError(f"{name}={value!r}: must be an int of at least 1.")
        convolution_kernels(convolutions)  # refuses what it does not know
        first = devices.device_of_rank(0, device)
        if start == "forkserver" and first.type != "cpu":
            raise ToolkitError(f"start='forkserver' with device {first}: a forked process cannot use it; use 'spawn'.")
        backend = backend or backend_of(first, ranks)
        self._setup = Setup(0, ranks, device, backend, threads, convolutions, keep_memory, 0, 0, timeout)
        self._device = first
        self._start = start
        self._calls = Calls(self._setup, start)
        self._busy = threading.Lock()
        self._closing = threading.Event()

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return self._setup.size

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers, by rank; empty before the first run and after a fault."""
        return self._calls.pool.pids

    def run(self, function: Callable[..., Any], *args: Any, timeout: float | None = None, **kwargs: Any) -> list[Any]:
        """Call a function on every rank, also one defined in the notebook, and collect what it returns.

        It may use ``torch.distributed``: the default group spans all ranks. Tensors among the arguments lie in memory
        that the ranks share: read them, or clone them. Modules among the positional arguments are sent once.

        Args:
            function: called as ``function(*args, **kwargs)`` on each rank.
            *args: its arguments.
            timeout: seconds after which the run is given up.
            **kwargs: its keyword arguments.

        Returns:
            One result per rank, tensors on the CPU.

        Raises:
            RankFailed: where a rank raised, with its traceback.
            RankDied: where a rank's process ended.
            RunTimeout: where ranks had not finished after ``timeout``.
        """
        with self._exclusive(), deferred() as interrupts:
            listener = Listener(timeout=timeout, interrupts=interrupts)
            args = self._calls.prepare(args, listener)
            answers = self._calls.call(range(self.ranks), function, args, kwargs, listener)
            return [answers[rank] for rank in range(self.ranks)]

    @overload
    def decode(self, vae: Any, latent: Tensor, plan: Plan | None = None, *, block: Literal[True] = True,
               arguments: Mapping[str, Any] | None = None, seed: int | None = None, recipe: Recipe | None = None,
               norm_passes: int = 0, rules: Mapping[Any, Rule] | None = None, stream: Sink | None = None,
               timeout: float | None = None, progress: bool = True, memory: bool = True) -> Run: ...  # fmt: skip

    @overload
    def decode(self, vae: Any, latent: Tensor, plan: Plan | None = None, *, block: Literal[False],
               arguments: Mapping[str, Any] | None = None, seed: int | None = None, recipe: Recipe | None = None,
               norm_passes: int = 0, rules: Mapping[Any, Rule] | None = None, stream: Sink | None = None,
               timeout: float | None = None, progress: bool = True, memory: bool = True) -> Job[Run]: ...  # fmt: skip

    def decode(
        self,
        vae: Any,
        latent: Tensor,
        plan: Plan | None = None,
        *,
        block: bool = True,
        arguments: Mapping[str, Any] | None = None,
        seed: int | None = None,
        recipe: Recipe | None = None,
        norm_passes: int = 0,
        rules: Mapping[Any, Rule] | None = None,
        stream: Sink | None = None,
        timeout: float | None = None,
        progress: bool = True,
        memory: bool = True,
    ) -> Run | Job[Run]:
        """Decode a latent by a plan, or by the model's own call on rank 0.

        Under ``torch.autocast`` for the cluster's type of device, the workers compute under the same.

        Args:
            vae: a diffusers autoencoder; it is not changed.
            latent: as ``vae.decode`` takes it.
            plan: how the work is divided; None: the model's own call, with the model's own tiling where that is on.
            block: wait for the run; else return a :class:`Job` at once.
            arguments: further arguments of ``vae.decode``.
            seed: seeds what the model draws while it decodes.
            recipe: how tiles of this model are computed, for a class that the toolkit has no entry for.
            norm_passes: with tiles: passes over all of them beforehand that gather the statistics of GroupNorm, so
                that each tile is normalised as a part of the whole, not on its own. Colours then shift less from
                tile to tile, how much depends on the picture; each pass takes as long as a run without.
            rules: with shards: further rules for operations, by function or name, for this run.
            stream: with tiles of which at most two meet along an axis: where the output goes, in bands along the grid's
                first axis, each as soon as it is finished. No rank then holds all of it, and the run keeps none. A
                function is called in this process as ``stream(band, start)``, in order, while the workers go on; a
                slow one holds them up, one that raises ends the run. A :class:`~toolkit.measure.video.VideoFile`, or a
                path that ends in ``.mp4``, is for a grid whose first axis is ``t``.
            timeout: seconds after which the run is given up.
            progress: show a bar, and a line of text at the end.
            memory: measure each rank's memory.

        Returns:
            The run: output (unless it was streamed), trace, memory and record.

        Raises:
            PlanError: before anything starts, where the plan does not fit the latent or the cluster.
            ModelError: before anything starts, where the mode is not known to be right for this class.
            RankFailed: where a rank raised, with its traceback.
            RankDied: where a rank's process ended.
            RunTimeout: where ranks had not finished after ``timeout``.
            RunError: where ``stream`` raised, with its cause.
        """
        sink = None if stream is None else sink_of(stream)
        call = Call("decode", arguments or {}, seed, self._autocast, recipe, norm_passes, rules)
        return self._code(Request(vae, latent, plan, call, memory, sink), block, timeout, progress)

    @overload
    def encode(self, vae: Any, sample: Tensor, plan: Plan | None = None, *, block: Literal[True] = True,
               arguments: Mapping[str, Any] | None = None, seed: int | None = None, recipe: Recipe | None = None,
               norm_passes: int = 0, rules: Mapping[Any, Rule] | None = None, timeout: float | None = None,
               progress: bool = True, memory: bool = True) -> Run: ...  # fmt: skip

    @overload
    def encode(self, vae: Any, sample: Tensor, plan: Plan | None = None, *, block: Literal[False],
               arguments: Mapping[str, Any] | None = None, seed: int | None = None, recipe: Recipe | None = None,
               norm_passes: int = 0, rules: Mapping[Any, Rule] | None = None, timeout: float | None = None,
               progress: bool = True, memory: bool = True) -> Job[Run]: ...  # fmt: skip

    def encode(
        self,
        vae: Any,
        sample: Tensor,
        plan: Plan | None = None,
        *,
        block: bool = True,
        arguments: Mapping[str, Any] | None = None,
        seed: int | None = None,
        recipe: Recipe | None = None,
        norm_passes: int = 0,
        rules: Mapping[Any, Rule] | None = None,
        timeout: float | None = None,
        progress: bool = True,
        memory: bool = True,
    ) -> Run | Job[Run]:
        """Encode a sample; as :meth:`decode`, with the plan in latent units too.

        Returns:
            The run. Its output is the posterior's parameters (the latent, for classes without a posterior): draw from
            them once, with one generator.
        """
        call = Call("encode", arguments or {}, seed, self._autocast, recipe, norm_passes, rules)
        return self._code(Request(vae, sample, plan, call, memory), block, timeout, progress)

    def _code(self, request: Request, block: bool, timeout: float | None, progress: bool) -> Run | Job[Run]:
        ratio = request.check(self.ranks)
        shown = Progress(request.plan, progress)

        def work(cancelled: Callable[[], bool]) -> Run:
            with self._exclusive(), deferred() as interrupts:
                events: list[Event] = []

                def given_up() -> bool:
                    return cancelled() or self._closing.is_set()

                def note(event: Event) -> None:
                    events.append(event)
                    shown.update(event)

                listener = Listener(note, timeout=timeout, cancelled=given_up, interrupts=interrupts)
                try:
                    run = request.run(self._calls, listener, events, ratio, self._describe())
                except RunError as error:
                    error.add_note(f"{len(events)} events were recorded before; see error.trace")
                    error.trace = traces.frame(events)
                    shown.close("not finished")
                    raise
                shown.close(f"{run!r}")
                return run

        return work(lambda: False) if block else Job(work, shown)

    @property
    def _autocast(self) -> torch.dtype | None:
        return ambient_autocast(self._device.type)

    def _describe(self) -> dict[str, Any]:
        setup = self._setup
        return {
            "ranks": setup.size,
            "device": str(self._device),
            "backend": setup.backend,
            "staged through the host": self.staged,
            "threads": setup.threads,
            "convolutions": setup.convolutions,
            "keep_memory": setup.keep_memory,
            "start": self._start,
        }

    @property
    def staged(self) -> bool:
        """Whether messages between ranks pass through the host: gloo with an accelerator."""
        return self._device.type != "cpu" and self._setup.backend == "gloo"

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One run at a time: a second is refused instead of mixing its messages with the first's."""
        if not self._busy.acquire(blocking=False):
            raise ToolkitError("the cluster is running a job: wait for its result() or cancel() it first.")
        try:
            yield
        finally:
            self._busy.release()

    def close(self) -> None:
        """End the workers, and a job that is still running. The cluster can be used again: it starts new ones."""
        with deferred():
            self._closing.set()
            with self._busy:
                self._closing.clear()
                self._calls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        via = f"{self._setup.backend}, staged through the host" if self.staged else self._setup.backend
        state = "running" if self._calls.pool.running else "not started"
        return (
            f"Cluster({self.ranks} ranks on {self._device.type}, {via}, {self._setup.threads} thread(s) each; {state})"
        )
