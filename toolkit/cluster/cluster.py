"""Clusters: ranks that a notebook starts, uses again and again, and leaves nothing of."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, Unpack, overload

from torch import Tensor

from toolkit.cluster.calls import Calls
from toolkit.cluster.decode_request import DecodeRequest
from toolkit.cluster.engines.interrupts import deferred
from toolkit.cluster.engines.listener import Listener
from toolkit.cluster.engines.local.launch import Start, start_of
from toolkit.cluster.engines.setup import Setup
from toolkit.cluster.generate_request import GenerateRequest
from toolkit.cluster.job import Job
from toolkit.cluster.progress import Progress, Steps
from toolkit.cluster.stream import Sink, sink_of
from toolkit.cluster.turns import Turns
from toolkit.distributed.comm.group import backend_of
from toolkit.errors import PlanError
from toolkit.geometry.plan import Plan, or_whole
from toolkit.geometry.stage_plan import Plans, StagePlan, first_plan
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.model_call import ModelCall, ambient_autocast
from toolkit.models.autoencoders.options import OptionFields, Options
from toolkit.numerics.convolution import Convolutions, convolution_kernels
from toolkit.runs import device as devices
from toolkit.runs.run import Run
from toolkit.runs.trace import Event


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
        start: Start | None = None,
        convolutions: Convolutions = "onednn",
        keep_memory: bool = True,
        timeout: float = 1800.0,
    ) -> None:
        for name, value in (("ranks", ranks), ("threads", threads)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PlanError(f"{name}={value!r}: must be an int of at least 1.")
        convolution_kernels(convolutions)  # refuses what it does not know
        first = devices.device_of_rank(0, device)
        backend = backend or backend_of(first, ranks)
        self._setup = Setup(0, ranks, device, backend, threads, convolutions, keep_memory, 0, 0, timeout)
        self._device = first
        self._start = start_of(start)
        self._calls = calls = Calls(self._setup, self._start)
        self._turns = Turns(lambda: calls.pool.pids, calls.close)
        # Workers are ready by the time the first call comes, and never outlive the cluster, closed or not.
        calls.pool.begin()
        weakref.finalize(self, calls.drop_workers).atexit = False

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
        with self._turns.exclusive(), deferred() as interrupts:
            listener = Listener(timeout=timeout, cancelled=lambda: self._turns.closing, interrupts=interrupts)
            args = self._calls.prepare(args, listener)
            answers = self._calls.call(range(self.ranks), function, args, kwargs, listener)
            return [answers[rank] for rank in range(self.ranks)]

    @overload
    def decode(self, vae: Any, latent: Tensor, plan: Plan | None = None, *, options: Options | None = None,
               block: Literal[True] = True, stream: Sink | None = None, timeout: float | None = None,
               progress: bool = True, memory: bool = True, **changes: Unpack[OptionFields]) -> Run: ...  # fmt: skip

    @overload
    def decode(self, vae: Any, latent: Tensor, plan: Plan | None = None, *, options: Options | None = None,
               block: Literal[False], stream: Sink | None = None, timeout: float | None = None, progress: bool = True,
               memory: bool = True, **changes: Unpack[OptionFields]) -> Job[Run]: ...  # fmt: skip

    def decode(
        self,
        vae: Any,
        latent: Tensor,
        plan: Plan | None = None,
        *,
        options: Options | None = None,
        block: bool = True,
        stream: Sink | None = None,
        timeout: float | None = None,
        progress: bool = True,
        memory: bool = True,
        **changes: Unpack[OptionFields],
    ) -> Run | Job[Run]:
        """Decode a latent by a plan, or by the model's own call on rank 0.

        Under ``torch.autocast`` for the cluster's type of device, the workers compute under the same.

        Args:
            vae: a diffusers autoencoder; it is not changed.
            latent: as ``vae.decode`` takes it.
            plan: how the work is divided; None: the model's own call, with the model's own tiling where that is on.
            options: How the model is called; None: :class:`toolkit.Options` with its defaults.
            block: wait for the run; else return a :class:`Job` at once.
            stream: with tiles of which at most two meet along an axis: where the output goes, in bands along the grid's
                first axis, each as soon as it is finished. No rank then holds all of it, and the run keeps none. A
                function is called in this process as ``stream(band, start)``, in order, while the workers go on; a
                slow one holds them up, one that raises ends the run. A :class:`VideoFile`, or a
                path that ends in ``.mp4``, is for a grid whose first axis is ``t``.
            timeout: seconds after which the run is given up.
            progress: show a bar, and a line of text at the end.
            memory: measure each rank's memory.
            **changes: Fields of :class:`toolkit.Options` by name (``seed=3``); they replace those of ``options``.

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
        call = self._call(Direction.DECODE, options, changes)
        return self._code(DecodeRequest(vae, latent, or_whole(plan), call, memory, sink), block, timeout, progress)

    @overload
    def encode(self, vae: Any, sample: Tensor, plan: Plan | None = None, *, options: Options | None = None,
               block: Literal[True] = True, timeout: float | None = None,
               progress: bool = True, memory: bool = True, **changes: Unpack[OptionFields]) -> Run: ...  # fmt: skip

    @overload
    def encode(self, vae: Any, sample: Tensor, plan: Plan | None = None, *, options: Options | None = None,
               block: Literal[False], timeout: float | None = None, progress: bool = True, memory: bool = True,
               **changes: Unpack[OptionFields]) -> Job[Run]: ...  # fmt: skip

    def encode(
        self,
        vae: Any,
        sample: Tensor,
        plan: Plan | None = None,
        *,
        options: Options | None = None,
        block: bool = True,
        timeout: float | None = None,
        progress: bool = True,
        memory: bool = True,
        **changes: Unpack[OptionFields],
    ) -> Run | Job[Run]:
        """Encode a sample; as :meth:`decode`, with the plan in latent units too.

        Returns:
            The run. Its output is the posterior's parameters (the latent, for classes without a posterior): draw from
            them once, with one generator.
        """
        call = self._call(Direction.ENCODE, options, changes)
        return self._code(DecodeRequest(vae, sample, or_whole(plan), call, memory), block, timeout, progress)

    @overload
    def generate(self, pipe: Any, plan: StagePlan | Plans | None = None, *, block: Literal[True] = True,
                 requests: Sequence[Mapping[str, Any]] | None = None, load: Mapping[str, Any] | None = None,
                 timeout: float | None = None, progress: bool = True, memory: bool = True,
                 **call: Any) -> Run: ...  # fmt: skip

    @overload
    def generate(self, pipe: Any, plan: StagePlan | Plans | None = None, *, block: Literal[False],
                 requests: Sequence[Mapping[str, Any]] | None = None, load: Mapping[str, Any] | None = None,
                 timeout: float | None = None, progress: bool = True, memory: bool = True,
                 **call: Any) -> Job[Run]: ...  # fmt: skip

    def generate(
        self,
        pipe: Any,
        plan: StagePlan | Plans | None = None,
        *,
        block: bool = True,
        requests: Sequence[Mapping[str, Any]] | None = None,
        load: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        progress: bool = True,
        memory: bool = True,
        **call: Any,
    ) -> Run | Job[Run]:
        """Call a diffusers pipeline whose transformers lie in stages over the ranks.

        The pipeline is not changed, and runs its own code on every rank: callbacks are called on each of them. Noise
        comes from ``generator``, or torch's global one, as in a call here, and both stand afterwards where they would.

        Args:
            pipe: a pipeline, or the folder of one: then each rank loads its own layers only, and of the other modules
                those that the plan has there.
            plan: how its transformers are spread over the ranks; one for each by name where they differ; None: the
                pipeline's own call on rank 0.
            block: wait for the run; else return a :class:`Job` at once.
            requests: several calls in flight: what each has beside ``call``, with a generator of its own.
            load: with a folder: what the pipeline's ``from_pretrained`` is given, as ``{"dtype": torch.bfloat16}``.
            timeout: seconds after which the run is given up.
            progress: show a bar, and a line of text at the end.
            memory: measure each rank's memory.
            **call: the arguments of ``pipe(...)``.

        Returns:
            The run. Its ``result`` is what ``pipe(**call)`` returns, its ``output`` the frames, images or latents of
            it; lists where there are ``requests``.

        Raises:
            PlanError: before anything starts, where the plan does not fit the pipeline or the cluster.
            ModelError: before anything starts, where the pipeline cannot be run in stages.
            RankFailed: where a rank raised, with its traceback.
            RankDied: where a rank's process ended.
            RunTimeout: where ranks had not finished after ``timeout``.
        """
        request = GenerateRequest(pipe, plan, call, requests, memory, load or {}, ambient_autocast(self._device.type))
        request.check(self.ranks)
        shown = Steps(first_plan(plan), len(requests or [{}]), call.get("num_inference_steps"), progress)

        def run(listener: Listener, events: list[Event]) -> Run:
            return request.run(self._calls, listener, events, self.ranks, self._describe())

        return self._turns.start(run, shown, block=block, timeout=timeout)

    def _code(self, request: DecodeRequest, block: bool, timeout: float | None, progress: bool) -> Run | Job[Run]:
        fit = request.check(self.ranks)

        def run(listener: Listener, events: list[Event]) -> Run:
            return request.run(self._calls, listener, events, fit, self._describe())

        return self._turns.start(run, Progress(request.plan, progress), block=block, timeout=timeout)

    def _call(self, direction: Direction, options: Options | None, changes: OptionFields) -> ModelCall:
        """The call that workers make: under the autocast of this process where the options name no other."""
        given = Options.of(options, changes)
        return ModelCall(direction, replace(given, autocast=given.autocast or ambient_autocast(self._device.type)))

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

    def close(self) -> None:
        """End the workers, and a job that is still running. The cluster can be used again: it starts new ones."""
        with deferred():
            self._turns.close()

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
