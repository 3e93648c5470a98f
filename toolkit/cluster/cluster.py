"""A cluster: worker processes that a notebook starts, reuses, and always cleans up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, Unpack, overload

from torch import Tensor

from toolkit.cluster.decode_request import DecodeRequest, OnLoss, OnOom
from toolkit.cluster.engines.local.launch import Start
from toolkit.cluster.engines.local.local_value import Local
from toolkit.cluster.engines.opened import Openable
from toolkit.cluster.engines.setup import Setup
from toolkit.cluster.generate_request import GenerateRequest
from toolkit.cluster.job import Job
from toolkit.cluster.progress import Progress, Steps
from toolkit.cluster.ranks import Ranks
from toolkit.cluster.stream import Sink, sink_of
from toolkit.cluster.workers import Workers
from toolkit.errors import PlanError
from toolkit.geometry.checks import check_counts
from toolkit.geometry.plan import Plan, or_whole
from toolkit.geometry.stage_plan import Plans, StagePlan, first_plan
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.model_call import ModelCall, ambient_autocast
from toolkit.models.autoencoders.options import OptionFields, Options
from toolkit.models.protocols import Autoencoder
from toolkit.models.transformers.pipeline_parts import Source
from toolkit.numerics.convolution import Convolutions
from toolkit.runs.run import Run


class Cluster(Ranks):
    """A number of ranks, one worker process each.

    Workers begin to start when the cluster is made, in the background, and serve all runs until ``close()`` or the end
    of the ``with`` block. A model is sent to them once, and again only if it has changed. A fault in a run ends that
    run on all ranks and leaves the cluster usable. Workers import a script, so it needs ``if __name__ == "__main__":``.

    Args:
        ranks: Number of ranks.
        device: ``"cpu"``, the type of an accelerator, or one device for all ranks. None: the accelerator, if any.
        backend: The backend of the process group. None: the device's own if every rank has a device of its own;
            otherwise gloo, by way of the host. ``"nccl"`` lets ranks share one card, for tests.
        threads: CPU threads per rank.
        engine: Where ranks are: :class:`toolkit.engines.Hosts` or ``Ray``; None: on this machine.
        start: ``"forkserver"``: workers are forks of a server that has imported everything, which is quicker.
            ``"spawn"``: every worker imports everything itself. None: the quicker one that is safe here.
        identify: A model is sent again if its ``"contents"`` change. ``"versions"`` is quicker, and blind to ``.data``.
        convolutions: ``"onednn"`` keeps small fp32 CPU convolutions out of a slow kernel; ``"aten"`` leaves the choice
            of kernels to PyTorch.
        keep_memory: Let CPU workers keep freed buffers for reuse instead of returning them at once.
        timeout: Seconds after which an operation between ranks gives up.

    Raises:
        PlanError: If an argument has a value that it cannot have.

    Example:
        >>> with Cluster(ranks=2, device="cpu") as cluster:
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
        engine: Openable | None = None,
        start: Start | None = None,
        identify: Literal["contents", "versions"] = "contents",
        convolutions: Convolutions = "onednn",
        keep_memory: bool = True,
        timeout: float = 1800.0,
    ) -> None:
        check_counts(ranks=ranks)
        if engine is not None and start is not None:
            raise PlanError(f"start={start!r} with engine={engine!r}: only an engine of this machine has a choice.")
        opened = (engine or Local(start)).open(ranks, device, backend)
        setup = Setup(0, ranks, device, opened.backend, threads, convolutions, keep_memory, None, 0, timeout)
        super().__init__(Workers(replace(setup, one_card=opened.one_card), opened, identify=identify))

    @overload
    def decode(self, vae: Autoencoder, latent: Tensor, plan: Plan | None = None, *, options: Options | None = None,
               block: Literal[True] = True, stream: Sink | None = None, timeout: float | None = None,
               on_loss: OnLoss = "raise", on_oom: OnOom = "raise", progress: bool = True, memory: bool = True,
               **changes: Unpack[OptionFields]) -> Run: ...  # fmt: skip

    @overload
    def decode(self, vae: Autoencoder, latent: Tensor, plan: Plan | None = None, *, options: Options | None = None,
               block: Literal[False], stream: Sink | None = None, timeout: float | None = None,
               on_loss: OnLoss = "raise", on_oom: OnOom = "raise", progress: bool = True, memory: bool = True,
               **changes: Unpack[OptionFields]) -> Job[Run]: ...  # fmt: skip

    def decode(
        self,
        vae: Autoencoder,
        latent: Tensor,
        plan: Plan | None = None,
        *,
        options: Options | None = None,
        block: bool = True,
        stream: Sink | None = None,
        timeout: float | None = None,
        on_loss: OnLoss = "raise",
        on_oom: OnOom = "raise",
        progress: bool = True,
        memory: bool = True,
        **changes: Unpack[OptionFields],
    ) -> Run | Job[Run]:
        """Decode a latent by a plan, or by the model's own call on rank 0.

        If ``torch.autocast`` is on here for the cluster's type of device, the workers compute under the same autocast.

        Args:
            vae: A diffusers autoencoder. It is not changed.
            latent: The latent, as ``vae.decode`` takes it.
            plan: How the work is divided. None: the model's own call, with the model's own tiling if that is on.
            options: How the model is called, as one value; see :class:`toolkit.Options`.
            block: Wait for the run; otherwise return a :class:`Job` at once.
            stream: For tiles of which at most two meet along an axis: where the output goes, in bands along the grid's
                first axis, each as soon as it is finished. No rank holds the whole output, and the run keeps none of
                it. A function is called in this process as ``stream(band, start)``, in order, while the workers go on;
                if it is slow, they wait, and if it raises, the run ends. A :class:`~toolkit.VideoFile`, or a path that
                ends in ``.mp4``, is for a grid whose first axis is ``t``.
            timeout: Seconds after which the run is given up, starting workers and sending the model included.
            on_loss: For tiles, what happens when the process of a rank ends: the run ends (``"raise"``), or goes on
                with the ranks that are left (``"continue"``), with the same bits and more memory in this process.
            on_oom: For tiles, what happens when a rank runs out of memory: the run ends (``"raise"``), or is made again
                with smaller tiles (``"smaller"``), which is said in a warning and in the record.
            progress: Show a bar, and a line of text at the end.
            memory: Measure the memory of each rank.
            **changes: Fields of the options as keywords, such as ``seed=3``.

        Returns:
            The run, with its output (unless it was streamed), trace, memory and record.

        Raises:
            PlanError: Before anything runs, if the plan does not fit the latent or the cluster.
            ModelError: Before anything runs, if the mode is not known to be right for the class.
            RankFailed: If a rank raised, with its traceback.
            RankDied: If the process of a rank ended.
            RunTimeout: If ranks had not finished after ``timeout``.
            RunError: If ``stream`` raised.
        """
        call = self._call(Direction.DECODE, options, changes=changes)
        sink = None if stream is None else sink_of(stream)
        request = DecodeRequest(vae, latent, or_whole(plan), call, memory, sink, on_loss, on_oom)
        return self._code(request, block=block, timeout=timeout, progress=progress)

    @overload
    def encode(self, vae: Autoencoder, sample: Tensor, plan: Plan | None = None, *, options: Options | None = None,
               block: Literal[True] = True, timeout: float | None = None,
               on_loss: OnLoss = "raise", on_oom: OnOom = "raise", progress: bool = True, memory: bool = True,
               **changes: Unpack[OptionFields]) -> Run: ...  # fmt: skip

    @overload
    def encode(self, vae: Autoencoder, sample: Tensor, plan: Plan | None = None, *, options: Options | None = None,
               block: Literal[False], timeout: float | None = None, on_loss: OnLoss = "raise", on_oom: OnOom = "raise",
               progress: bool = True, memory: bool = True,
               **changes: Unpack[OptionFields]) -> Job[Run]: ...  # fmt: skip

    def encode(
        self,
        vae: Autoencoder,
        sample: Tensor,
        plan: Plan | None = None,
        *,
        options: Options | None = None,
        block: bool = True,
        timeout: float | None = None,
        on_loss: OnLoss = "raise",
        on_oom: OnOom = "raise",
        progress: bool = True,
        memory: bool = True,
        **changes: Unpack[OptionFields],
    ) -> Run | Job[Run]:
        """Encode a sample; as :meth:`decode`, with the plan in latent units, too.

        Returns:
            The run. Its output is the parameters of the posterior (the latent itself for classes without a posterior).
            Draw from them once, with one generator.
        """
        call = self._call(Direction.ENCODE, options, changes=changes)
        request = DecodeRequest(vae, sample, or_whole(plan), call, memory, None, on_loss, on_oom)
        return self._code(request, block=block, timeout=timeout, progress=progress)

    @overload
    def generate(self, pipe: Source, plan: StagePlan | Plans | None = None, *, block: Literal[True] = True,
                 requests: Sequence[Mapping[str, Any]] | None = None, load: Mapping[str, Any] | None = None,
                 timeout: float | None = None, progress: bool = True, memory: bool = True,
                 **call: Any) -> Run: ...  # fmt: skip

    @overload
    def generate(self, pipe: Source, plan: StagePlan | Plans | None = None, *, block: Literal[False],
                 requests: Sequence[Mapping[str, Any]] | None = None, load: Mapping[str, Any] | None = None,
                 timeout: float | None = None, progress: bool = True, memory: bool = True,
                 **call: Any) -> Job[Run]: ...  # fmt: skip

    def generate(
        self,
        pipe: Source,
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
        """Call a diffusers pipeline whose transformers are split into stages over the ranks.

        The pipeline is not changed. Its own code runs on every rank, so callbacks are called on each of them. Noise
        comes from ``generator`` or from torch's global generator, as in a call here, and afterwards both are in the
        state that a call here would leave.

        Args:
            pipe: A pipeline, or the folder of one. From a folder, each rank loads only its own layers, and only the
                other modules that the plan gives it.
            plan: How the transformers are spread over the ranks; one plan per transformer, by name, if they differ.
                None: the pipeline's own call on rank 0.
            block: Wait for the run; otherwise return a :class:`Job` at once.
            requests: For several calls in flight: the arguments of each beside ``call``, with a generator of its own.
            load: With a folder: arguments of the pipeline's ``from_pretrained``, such as ``{"dtype": torch.bfloat16}``.
            timeout: Seconds after which the run is given up, starting workers and sending the modules included.
            progress: Show a bar, and a line of text at the end.
            memory: Measure the memory of each rank.
            **call: The arguments of ``pipe(...)``.

        Returns:
            The run. Its ``result`` is what ``pipe(**call)`` returns, its ``output`` the frames, images or latents in
            it; lists if there are ``requests``.

        Raises:
            PlanError: Before anything runs, if the plan does not fit the pipeline or the cluster.
            ModelError: Before anything runs, if the pipeline cannot be run in stages.
            RunError: If a rank failed, died or was given up; see :meth:`decode`.
        """
        request = GenerateRequest(pipe, plan, call, requests, memory, load or {}, ambient_autocast(self.device.type))
        request.check(self.ranks)
        shown = Steps(first_plan(plan), len(requests or [{}]), call.get("num_inference_steps"), progress)
        run = partial(request.run, ranks=self.ranks, setting=self._workers.describe())
        return self._workers.make(run, shown, block=block, timeout=timeout)

    def _code(self, request: DecodeRequest, *, block: bool, timeout: float | None, progress: bool) -> Run | Job[Run]:
        run = partial(request.run, fit=request.check(self.ranks), setting=self._workers.describe())
        return self._workers.make(run, Progress(request.plan, progress), block=block, timeout=timeout)

    def _call(self, direction: Direction, options: Options | None, *, changes: OptionFields) -> ModelCall:
        given = Options.of(options, changes)
        return ModelCall(direction, replace(given, autocast=given.autocast or ambient_autocast(self.device.type)))
