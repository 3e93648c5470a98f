"""Writing down operators and memory while a rank's own code runs on tensors without data."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.numerics.tensor_compat import tree_map
from toolkit.planning.rehearsing.answers_compat import Answer, Answers
from toolkit.planning.rehearsing.fake_tensors_compat import (
    asks_for_values,
    call_operator,
    fake_like,
    is_fake,
    storage_bytes,
)
from toolkit.planning.rehearsing.known_values import KnownValues, unknown
from toolkit.planning.rehearsing.operator_call import TensorSpec, tensors_in
from toolkit.planning.rehearsing.script import Compute, Script, Section

_DEVICE = torch.ops.prim.device.default
"""What kernels ask of tensors most often, so it is answered without another way through torch."""

_LIFTS = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default)
"""What torch.tensor ends with: takes the new tensor, which nobody else has, without its data."""

SectionMemory = dict[str, tuple[Section, TensorSpec, int]]
"""Sections by key, each with its result and the number of operators that the host calls in it."""


class Scribe(TorchDispatchMode):
    """Writes down every operator, and what is allocated before and after it.

    Memory is counted as storages: views share one, and it is freed when the last tensor on it is.

    Args:
        script: Where to write.
        values: What is known of tensors without data.
        device: The device that tensors claim to be on.
        answers: What operators have returned on other ranks; None: this is the first.

    Attributes:
        live: Bytes that are allocated now.
    """

    def __init__(
        self, script: Script, values: KnownValues, device: torch.device, answers: Answers | None = None
    ) -> None:
        super().__init__()
        self._script, self._values, self._device = script, values, device
        self._answers = Answers() if answers is None else answers
        self.live = self._calls = 0
        self._closed = False
        self._seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        # Questions to a tensor are no operators; only tensors without data ask them this way.
        if func is _DEVICE:
            return args[0].device
        if func.namespace == "prim":
            return func(*args, **given)
        before = self.live
        tensors = list(tensors_in(args, given))
        if func not in _LIFTS and not all(map(is_fake, tensors)):
            args, given = tree_map(self._without_data, (args, given))
        for value in tensors:
            # What was there before, such as weights and the input, is not allocated by a view of it.
            if is_fake(value):
                self._seen.setdefault(value.untyped_storage(), 0)
        out, answer = self._call(func, args, given)
        made = sum(map(self._count, out)) if isinstance(out, list | tuple) else self._count(out)
        self._calls += 1
        if answer.call is not None:
            self._write(answer, live=before, made=made)
        elif made:
            self._note()
        return out

    def close(self) -> None:
        """Write down what is allocated at the end. What is freed later, such as the output, is freed after the call."""
        self._note()
        self._closed = True

    def section(self, key: str, act: Callable[[], Tensor], memory: SectionMemory) -> Tensor:
        """Write down what ``act`` does as one step, whose own steps are written only the first time.

        Args:
            key: Tells sections apart; with the same key, ``act`` always does the same.
            act: What the rank does. It posts no messages, and what it allocates is freed when it returns, all but the
                result.
            memory: The sections so far, of any rank.
        """
        live, calls, script = self.live, self._calls, self._script
        known = memory.get(key)
        if known is None:
            self._script, self._calls = Script(script.rank), 0
            out = act()
            inner, self._script = self._script, script
            steps = [step for step in inner.steps if isinstance(step, Compute)]
            most = max((size for _, size in inner.allocated), default=live) - live
            relative = tuple(step._replace(live=step.live - live) for step in steps)
            section = Section(relative, most, inner.operators)
            known = memory[key] = section, TensorSpec.of(out), sum(step.calls for step in steps)
        else:
            out = known[1].empty(self._device)
        section, _, inside = known
        script.sections[key] = section
        script.steps.append(Compute(key, live, self.live - live, calls + inside))
        self._calls = 0
        self._note()
        return out

    def _without_data(self, value: Any) -> Any:
        """What stands for a tensor with data, such as a callback holds; its values are known if it is small."""
        if not isinstance(value, Tensor) or is_fake(value):
            return value
        fake = fake_like(value, value.device)
        self._values.borrow(fake, value)
        return fake

    def _call(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, Answer]:
        """Call an operator: for its shapes, and for its values where they are known."""
        if func is torch.ops.aten.index.Tensor:
            out = call_operator(func, (args[0], self._values.positions(args[1], self._device)), kwargs)
            return out, Answer.once(func, args, kwargs, out)
        if asks_for_values(func):
            twins = self._values.compute(func, args, kwargs)
            if twins is None:
                raise unknown(func)
            out = tree_map(lambda twin: fake_like(twin, self._device) if isinstance(twin, Tensor) else twin, twins)
            answer = Answer.once(func, args, kwargs, out)
        else:
            out, answer = self._answers.call(func, args, kwargs)
            twins = self._values.compute(func, args, kwargs, out)
        if twins is not None:
            self._values.learn_all(out, twins)
        return out, answer

    def _write(self, answer: Answer, *, live: int, made: int) -> None:
        assert answer.call is not None
        self._script.operators.setdefault(answer.key, answer.call)
        self._script.steps.append(Compute(answer.key, live, made, self._calls))
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
        self.live += size
        weakref.finalize(storage, self._free, size)
        return size

    def _free(self, size: int) -> None:
        self.live -= size
        self._note()

    def _note(self) -> None:
        """Write down what is allocated now; of several changes after one step the highest and the last count."""
        if self._closed:
            return
        done, allocated = len(self._script.steps), self._script.allocated
        if len(allocated) > 1 and allocated[-1][0] == allocated[-2][0] == done and allocated[-1][1] >= self.live:
            allocated[-1] = done, self.live
        else:
            allocated.append((done, self.live))
