"""Writing scripts: a rank's own SPMD function, on tensors without data, with messages that go nowhere."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.message import Message
from toolkit.distributed.comm.rank import Rank
from toolkit.numerics.convolution import Convolutions
from toolkit.numerics.tensor_compat import tree_leaves, tree_map
from toolkit.planning.rehearsing.fake_tensors_compat import (
    asks_for_values,
    call_operator,
    fake_like,
    is_fake,
    storage_bytes,
)
from toolkit.planning.rehearsing.known_values import KnownValues, unknown
from toolkit.planning.rehearsing.operator_call import OperatorCall, computes
from toolkit.planning.rehearsing.script import Await, Compute, Crossing, Post, Script
from toolkit.runs.trace import Recorder


def write_script(
    act: Callable[[Rank], Tensor | None],
    *,
    rank: int,
    size: int,
    device: torch.device,
    convolutions: Convolutions,
    values: KnownValues,
) -> Script:
    """Write down what one rank does. Call it inside ``without_data``.

    Args:
        act: The SPMD function, with everything but the rank.
        rank: The rank.
        size: Number of ranks.
        device: The device that the rank's tensors claim to be on.
        convolutions: The kernels of small fp32 CPU convolutions.
        values: What is known of tensors without data.
    """
    script = Script(rank)
    trace = Recorder(rank, 0.0, events=script.events, clock=lambda: float(len(script.steps)))
    transport = SilentTransport(script, device)
    acting = Rank(Member(None, rank, size), FailureFlag(None, rank), trace, convolutions, transport)
    with torch.no_grad(), Scribe(script, values, device):
        output = act(acting)
        script.result = () if output is None else tuple(output.shape)
        # Freed inside the block, as a run's output is counted up to its end.
        script.allocated.append((len(script.steps), script.allocated[-1][1] if script.allocated else 0))
        del output
    return script


class SilentTransport:
    """Moves nothing: it writes down what is posted and waited for.

    What has been posted has never arrived when it is asked for, so every wait is written down; whether the rank really
    waits there is a question of time.

    Args:
        script: Where to write.
        device: The device of the buffers.

    Attributes:
        where: The device of the buffers.
    """

    def __init__(self, script: Script, device: torch.device) -> None:
        self.where = device
        self._script = script
        self._numbers: dict[int, int] = {}
        self._posted = 0
        self._sent: list[Message] = []

    def post(self, messages: Sequence[Message]) -> None:
        """Write down a group."""
        for message in messages:
            self._numbers[id(message)] = self._posted
            self._posted += 1
        # A send keeps its buffer until the next group is posted, by which time it has usually left.
        self._sent = [message for message in messages if message.sends]
        crossings = [Crossing(message.sends, message.peer, message.buffer.nbytes) for message in messages]
        self._script.steps.append(Post(tuple(crossings)))

    def arrived(self, message: Message) -> bool:
        """No."""
        return False

    def wait(self, message: Message) -> None:
        """Write down that the rank waits here."""
        self._script.steps.append(Await(self._numbers[id(message)]))

    def release(self) -> None:
        """Nothing to let go of."""

    def leaving(self) -> list[Message]:
        """The sends of the last group."""
        return self._sent

    def drain(self) -> None:
        """Write down that the rank waits for the sends of the last group."""
        for message in self._sent:
            self.wait(message)
        self._sent = []

    def close(self) -> None:
        """No threads to end."""


class Scribe(TorchDispatchMode):
    """Writes down every operator, and what is allocated before and after it.

    Memory is counted as storages: views share one, and it is freed when the last tensor on it is.

    Args:
        script: Where to write.
        values: What is known of tensors without data.
        device: The device that tensors claim to be on.
    """

    def __init__(self, script: Script, values: KnownValues, device: torch.device) -> None:
        super().__init__()
        self._script, self._values, self._device = script, values, device
        self._live = self._calls = 0
        self._seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        before = self._live
        out = self._call(func, args, given)
        made = sum(self._count(value) for value in tree_leaves(out))
        # Questions to a tensor are no operators; only tensors without data ask them this way.
        if func.namespace == "prim":
            return out
        self._calls += 1
        if computes(func):
            self._write(func, args, given, out, live=before, made=made)
        elif made:
            self._note()
        return out

    def _call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call an operator: for its shapes, and for its values where they are known."""
        if func.namespace == "prim":
            return func(*args, **kwargs)
        if func is torch.ops.aten.index.Tensor:
            args = args[0], self._values.positions(args[1], self._device)
            return call_operator(func, args, kwargs)
        twins = self._values.compute(func, args, kwargs)
        if not asks_for_values(func):
            out = call_operator(func, args, kwargs)
        elif twins is None:
            raise unknown(func)
        else:
            out = tree_map(lambda twin: fake_like(twin, self._device) if isinstance(twin, Tensor) else twin, twins)
        if twins is not None:
            self._values.learn_all(out, twins)
        return out

    def _write(self, func: Any, args: Any, kwargs: Any, out: Any, *, live: int, made: int) -> None:
        call = OperatorCall.of(func, args, kwargs, out)
        key = str(call)
        self._script.operators.setdefault(key, call)
        self._script.steps.append(Compute(key, live, made, self._calls))
        self._calls = 0
        self._note()

    def _count(self, value: Any) -> int:
        """Count the memory of a tensor, unless it is counted already; returns its bytes."""
        if not isinstance(value, Tensor) or not is_fake(value):
            return 0
        storage = value.untyped_storage()
        if storage in self._seen:
            return 0
        size = storage_bytes(value)
        self._seen[storage] = size
        self._live += size
        weakref.finalize(storage, self._free, size)
        return size

    def _free(self, size: int) -> None:
        self._live -= size
        self._note()

    def _note(self) -> None:
        """Write down what is allocated now; of several changes after one step the highest and the last count."""
        done, allocated = len(self._script.steps), self._script.allocated
        if len(allocated) > 1 and allocated[-1][0] == allocated[-2][0] == done and allocated[-1][1] >= self._live:
            allocated[-1] = done, self._live
        else:
            allocated.append((done, self._live))
