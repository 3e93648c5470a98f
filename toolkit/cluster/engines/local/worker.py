"""The worker's side of the local engine: one process, one rank, one channel to the kernel."""

from __future__ import annotations

import multiprocessing
import os
import select
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from toolkit.cluster.engines.context import Context
from toolkit.cluster.engines.faults import is_stopped
from toolkit.cluster.engines.local.channel import Channel
from toolkit.cluster.engines.local.heap import keep_memory
from toolkit.cluster.engines.local.printed import Printed
from toolkit.cluster.engines.parcel import Parcel, pack, unpack
from toolkit.cluster.engines.setup import Setup
from toolkit.cluster.engines.shelf import ModelRef
from toolkit.distributed.comm import group, one_card
from toolkit.distributed.comm.introductions import introduce
from toolkit.errors import ToolkitError
from toolkit.numerics.convolution import convolution_kernels
from toolkit.runs.device import device_of_rank


class KernelLine:
    """The worker's end of its channel to the kernel, for any thread.

    Args:
        channel: The channel's end.
        gone: Called when the kernel is gone; ends this process.
    """

    def __init__(self, channel: Channel, gone: Callable[[], NoReturn]) -> None:
        self._channel, self._gone = channel, gone
        self._lock = threading.Lock()

    def send(self, *message: Any) -> None:
        """Send a message to the kernel; if the kernel is gone, this process ends."""
        with self._lock:
            try:
                # A kernel that reads late is busy with other ranks, or with a function that takes the output.
                self._channel.send(message, patient=True)
            except OSError:
                self._gone()

    def receive(self) -> Any:
        """The next message from the kernel; if the kernel is gone, this process ends."""
        try:
            return self._channel.receive()
        except (EOFError, ConnectionError):
            self._gone()


def main(channel: Channel, setup: Setup) -> None:
    """Run a worker: join the group, serve calls, end with the kernel."""
    # Stop in the notebook signals the whole process group; what it means is the kernel's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A group of its own: what a function starts here can be ended with this worker.
    os.setpgid(0, 0)
    siblings: list[int] = []
    assert setup.meeting is not None
    gone = partial(_kernel_is_gone, Path(setup.meeting.path).parent, siblings)
    threading.Thread(target=_end_with_kernel, args=(gone,), daemon=True).start()
    line = KernelLine(channel, gone)
    try:
        context = _prepare(line, setup)
    except BaseException as error:
        line.send(*_failure(error))
        os._exit(1)
    line.send("up", os.getpid())
    _serve(context, {}, siblings)


def _prepare(line: KernelLine, setup: Setup) -> Context:
    _as_if_spawned(setup)
    sys.stdout, sys.stderr = Printed(line, "stdout"), Printed(line, "stderr")
    tqdm.set_lock(threading.RLock())  # its default is a semaphore that outlives a process which ends as these do
    device = device_of_rank(setup.rank if setup.place is None else setup.place, setup.device)
    torch.set_num_threads(setup.threads)
    if device.type == "cpu":
        if setup.keep_memory:
            keep_memory()
    else:
        torch.accelerator.set_device_index(device.index or 0)
    context = Context(setup, device, line)
    _join(context, setup.generation)
    return context


def _as_if_spawned(setup: Setup) -> None:
    """Give a fork of the fork server what a spawned process has: the kernel's environment, random numbers of its own.

    Forks inherit the environment of the moment when the server started, and all of them the same state of numpy's
    global generator. Python's own generator is seeded anew in every fork, and torch's begins alike everywhere.
    """
    if setup.environment:
        for name in set(os.environ) - set(setup.environment):
            del os.environ[name]
        os.environ.update(setup.environment)
    np.random.seed(None)


def _join(context: Context, generation: int) -> None:
    setup = context.setup
    context.groups = group.Groups()
    if setup.one_card:
        # In this worker only, before NCCL starts.
        os.environ.update(one_card.settings(setup.rank))
    assert setup.meeting is not None
    os.environ.update(setup.meeting.environment())
    via, timeout = setup.backend, setup.timeout
    met = setup.meeting
    context.store = group.join(met, generation, backend=via, rank=setup.rank, size=setup.size, timeout=timeout)
    introduce(group.Member.of(None), context.device if setup.backend != "gloo" else torch.device("cpu"))


def _serve(context: Context, models: dict[int, nn.Module], siblings: list[int]) -> None:
    line = context.line
    while True:
        try:
            word, *rest = line.receive()
        except ToolkitError as error:
            line.send(*_failure(error))
            continue
        if word == "end":
            group.leave()
            _end(0)
        elif word == "clock":
            context.ahead = rest[0]
        elif word == "siblings":
            siblings[:] = rest[0]
        elif word == "regroup":
            group.leave()
            _join(context, rest[0])
            line.send("up", os.getpid())
        elif word == "install":
            key, parcel = rest
            line.send(*_install(context, models, key=key, parcel=parcel))
        elif word == "drop":
            for key in rest[0]:
                models.pop(key, None)
        elif word == "call":
            line.send(*_answer(context, models, parcel=rest[0]))
        # A "taken" that comes here is the late answer to a band of a call that has failed.


def _install(context: Context, models: dict[int, nn.Module], *, key: int, parcel: Parcel) -> tuple[Any, ...]:
    """Place a model on this worker's device. Running out of memory here is an answer like any other."""
    try:
        models[key] = unpack(parcel).to(context.device)
    except BaseException as error:
        models.pop(key, None)
        return _failure(error)
    return "installed", key


def _answer(context: Context, models: dict[int, nn.Module], *, parcel: Parcel) -> tuple[Any, ...]:
    """The result of a call as a message. Nothing of the call outlives this function."""
    try:
        function, wants_context, tf32, args, kwargs = unpack(parcel)
        tf32.apply()
        args = [models[arg.key] if isinstance(arg, ModelRef) else arg for arg in args]
        if wants_context:  # it chooses its kernels itself
            return "done", pack(_on_host(function(context, *args, **kwargs)))
        with convolution_kernels(context.setup.convolutions if context.device.type == "cpu" else "aten"):
            result = function(*args, **kwargs)
        return "done", pack(_on_host(result))
    except BaseException as error:
        return _failure(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, Printed):
                stream.finish()


def _failure(error: BaseException) -> tuple[str, str, str]:
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


def _end_with_kernel(gone: Callable[[], NoReturn]) -> None:
    """End this process when the kernel ends, however it ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        try:
            # A fork of the kernel keeps open what else would tell that the kernel has ended.
            kernel = os.pidfd_open(parent.pid or 0)
        except (AttributeError, OSError):
            parent.join()
        else:
            select.select([kernel], [], [])
    gone()


def _kernel_is_gone(folder: Path, siblings: list[int]) -> NoReturn:
    """End this process. A kernel that was killed has left the folder at which the ranks met, and stopped workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        # Its end of the channel closes before it is dead; or it lives, and has only given up this worker.
        parent.join(1.0)
        if not parent.is_alive():
            for pid in siblings:
                if is_stopped(pid):
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)
    _end(1)


def _end(code: int) -> NoReturn:
    """End this process, and what it has started."""
    os.killpg(0, signal.SIGTERM)
    os._exit(code)
