"""Writing down operators and memory while a rank's own code runs on tensors without data."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.numerics.tensor_compat import tree_map
from toolkit.planning.rehearsing.answers_compat import Answer, Answers
from toolkit.planning.rehearsing.fake_tensors_compat import (
    asks_for_values,
    call_operator,
    collective_of,
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

Share = Callable[[str, tuple[Any, ...], Tensor], None]
"""Writes a collective down, given its name, the arguments of its operator, and the result."""

SectionMemory = dict[str, tuple[Section, TensorSpec, int]]
"""Sections by key, each with its result and the number of operators that the host calls in it."""


class Mark(NamedTuple):
    """A point of a script, to look back to.

    Attributes:
        steps: Number of steps done.
        levels: Number of times that the allocated memory has changed.
        live: Bytes that are allocated.
        calls: Number of operators that the host has called since the last step.
        asked: How often values have decided what happens.
    """

    steps: int
    levels: int
    live: int
    calls: int
    asked: int


class Stretch(NamedTuple):
    """What a rank did from one point of its script to another, without messages.

    Attributes:
        section: The steps.
        kept: Bytes that are allocated at its end above those at its beginning.
        inside: Number of operators that the host calls up to its last step.
        behind: The same, after its last step.
    """

    section: Section
    kept: int
    inside: int
    behind: int


class Scribe(TorchDispatchMode):
    """Writes down every operator, and what is allocated before and after it.

    Memory is counted as storages: views share one, and it is freed when the last tensor on it is.

    Args:
        script: Where to write.
        values: What is known of tensors without data.
        device: The device that tensors claim to be on.
        answers: What operators have returned on other ranks; None: this is the first.
        share: Writes a collective down; None: there are none.

    Attributes:
        live: Bytes that are allocated now.
    """

    def __init__(
        self,
        script: Script,
        values: KnownValues,
        device: torch.device,
        answers: Answers | None = None,
        share: Share | None = None,
    ) -> None:
        super().__init__()
        self._script, self._values, self._device, self._share = script, values, device, share
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
        if (operation := collective_of(func)) is not None and self._share is not None:
            return self._collective(operation, func, args, share=self._share)
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

    def mark(self) -> Mark:
        """This point of the script."""
        # A level of its own, so that what follows does not take the place of an earlier one.
        self._script.allocated.append((len(self._script.steps), self.live))
        return Mark(len(self._script.steps), len(self._script.allocated), self.live, self._calls, self._values.asked)

    def since(self, mark: Mark) -> Stretch | None:
        """What was done since a point; None if there were messages, or values have decided what happens."""
        script = self._script
        steps = [step for step in script.steps[mark.steps :] if isinstance(step, Compute)]
        if len(steps) < len(script.steps) - mark.steps or self._values.asked > mark.asked:
            return None
        most = max((size for _, size in script.allocated[mark.levels :]), default=mark.live) - mark.live
        inside = sum(step.calls for step in steps) - mark.calls
        relative = tuple(step._replace(live=step.live - mark.live) for step in steps)
        operators = {step.key: script.operators[step.key] for step in steps if step.key in script.operators}
        section = Section(relative, max(0, most), operators)
        behind = self._calls if steps else self._calls - mark.calls
        return Stretch(section, self.live - mark.live, inside if steps else 0, behind)

    def repeat(self, key: str, stretch: Stretch, held: int) -> None:
        """Write down what was done before as one step.

        Args:
            key: Tells sections apart.
            stretch: What was done.
            held: Bytes that it allocates until it is told otherwise; what it makes is told to :meth:`allocated`.
        """
        if stretch.section.steps:
            self._script.sections[key] = stretch.section
            self._script.steps.append(Compute(key, self.live, held, self._calls + stretch.inside))
            self._calls = 0
        self._calls += stretch.behind
        self.live += held
        self._note()

    def fold(self, key: str, stretch: Stretch, mark: Mark) -> None:
        """Write what was done since a point as one step, in place of its steps."""
        del self._script.steps[mark.steps :], self._script.allocated[mark.levels :]
        self.live, self._calls = mark.live, mark.calls
        self.repeat(key, stretch, stretch.kept)

    def allocated(self, made: Iterable[Any]) -> None:
        """Count the memory of tensors that were not made by operators."""
        if sum(map(self._count, made)):
            self._note()

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
            self._values.asked += 1
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

    def _collective(self, operation: str, func: Any, args: tuple[Any, ...], *, share: Share) -> Any:
        """Write down a collective; what it returns exists while it is under way."""
        if operation == "wait":
            # The time that a rank waits is the collective's own.
            return args[0]
        out = call_operator(func, args, {})
        self._count(out)
        self._calls += 1
        self._note()
        share(operation, args, out)
        return out

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
