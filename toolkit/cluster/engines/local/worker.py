"""The worker's side of a cluster: one process, one rank, one pipe to the kernel."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from toolkit.cluster.engines.local.heap import keep_memory
from toolkit.cluster.engines.local.shelf import ModelRef
from toolkit.cluster.engines.local.wire import Parcel, pack, unpack
from toolkit.distributed.comm import group
from toolkit.numerics.convolution import Convolutions, convolution_kernels
from toolkit.runs.device import device_of_rank
from toolkit.runs.trace import Event

REPORT_EVERY = 0.05
"""Seconds within which events are gathered before they are reported."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is told at its start.

    Attributes:
        rank: its rank.
        size: number of ranks.
        device: as :func:`toolkit.runs.device.device_of_rank` takes it.
        backend: the process group's backend.
        threads: CPU threads for its operations.
        convolutions: which kernels small fp32 CPU convolutions use.
        keep_memory: whether the C library keeps freed buffers for reuse.
        port: port of the kernel's store.
        generation: counts the groups that used the store.
        timeout: seconds after which an operation of the group gives up.
    """

    rank: int
    size: int
    device: str | None
    backend: str
    threads: int
    convolutions: Convolutions
    keep_memory: bool
    port: int
    generation: int
    timeout: float


class Line:
    """The worker's end of its pipe, for any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, *message: Any) -> None:
        """Send a message to the kernel; where the kernel is gone, this process ends."""
        data = ForkingPickler.dumps(message)
        with self._lock:
            try:
                self._connection.send_bytes(data)
            except OSError:
                os._exit(1)

    def receive(self) -> Any:
        """The next message from the kernel; where the kernel is gone, this process ends."""
        try:
            return ForkingPickler.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


@dataclass(slots=True)
class Context:
    """What a function that runs on a worker may know of it.

    Attributes:
        setup: the worker's set-up.
        device: where its tensors go.
        line: its line to the kernel.
        groups: further process groups, kept from call to call.
        pipelines: the pipeline that was loaded last on this worker, by what it was loaded from.
    """

    setup: Setup
    device: torch.device
    line: Line
    groups: group.Groups = field(default_factory=group.Groups)
    pipelines: dict[str, Any] = field(default_factory=dict)


class Reports:
    """Tells the kernel of finished events, for live progress: a rare one at once, frequent ones in parcels.

    Args:
        line: the worker's line to the kernel.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._events: list[Event] = []
        self._sent = 0.0

    def add(self, event: Event) -> None:
        """Take note of an event."""
        self._events.append(event)
        if time.monotonic() - self._sent > REPORT_EVERY:
            self.flush()

    def flush(self) -> None:
        """Send what has been noted."""
        if self._events:
            self._line.send("events", self._events)
            self._events, self._sent = [], time.monotonic()


def main(connection: Connection, setup: Setup) -> None:
    """A worker's life: join the group, serve calls, end with the kernel."""
    # Stop in the notebook signals the whole process group; what it means is the kernel's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_kernel, daemon=True).start()
    line = Line(connection)
    try:
        context = _prepare(line, setup)
    except BaseException as error:
        line.send("failed", f"{type(error).__name__}: {error}", traceback.format_exc())
        os._exit(1)
    line.send("up", os.getpid())
    _serve(context, {})


def _prepare(line: Line, setup: Setup) -> Context:
    sys.stdout, sys.stderr = _Lines(line, "stdout"), _Lines(line, "stderr")
    tqdm.set_lock(threading.RLock())  # its own is a semaphore that outlives a process which ends as these do
    device = device_of_rank(setup.rank, setup.device)
    torch.set_num_threads(setup.threads)
    if device.type == "cpu":
        if setup.keep_memory:
            keep_memory()
    else:
        torch.accelerator.set_device_index(device.index or 0)
    context = Context(setup, device, line)
    _join(context, setup.generation)
    return context


def _join(context: Context, generation: int) -> None:
    setup = context.setup
    context.groups = group.Groups()
    group.join(setup.port, generation, setup.backend, setup.rank, setup.size, setup.timeout)
    group.warm_up(context.device if setup.backend != "gloo" else torch.device("cpu"))


def _serve(context: Context, models: dict[int, nn.Module]) -> None:
    line = context.line
    while True:
        word, *rest = line.receive()
        if word == "end":
            group.leave()
            os._exit(0)
        elif word == "regroup":
            group.leave()
            _join(context, rest[0])
            line.send("up", os.getpid())
        elif word == "install":
            key, parcel = rest
            models[key] = unpack(parcel).to(context.device)
            line.send("installed", key)
        elif word == "drop":
            for key in rest[0]:
                models.pop(key, None)
        elif word == "call":
            line.send(*_answer(context, models, rest[0]))
        # A "taken" that comes here is the late answer to a band of a call that has failed.


def _answer(context: Context, models: dict[int, nn.Module], parcel: Parcel) -> tuple[Any, ...]:
    """The result of a call as a message. Nothing of the call outlives this function."""
    try:
        function, wants_context, args, kwargs = unpack(parcel)
        args = [models[arg.key] if isinstance(arg, ModelRef) else arg for arg in args]
        if wants_context:  # it chooses its kernels itself
            return "done", pack(_on_host(function(context, *args, **kwargs)))
        with convolution_kernels(context.setup.convolutions if context.device.type == "cpu" else "aten"):
            result = function(*args, **kwargs)
        return "done", pack(_on_host(result))
    except BaseException as error:
        return "failed", f"{type(error).__name__}: {error}", traceback.format_exc()


def _on_host(result: Any) -> Any:
    """Tensors of a result, also inside tuples, lists and dicts, on the CPU."""
    if isinstance(result, torch.Tensor):
        return result.detach().cpu()
    if type(result) in (list, tuple):
        return type(result)(_on_host(item) for item in result)
    if type(result) is dict:
        return {key: _on_host(item) for key, item in result.items()}
    return result


def _end_with_kernel() -> None:
    """End this process when the kernel ends, however it ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


class _Lines(io.TextIOBase):
    """A text stream whose lines go to the kernel."""

    def __init__(self, line: Line, name: str) -> None:
        self._line, self._name, self._rest = line, name, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for one in lines:
            self._line.send("line", self._name, one)
        return len(text)
