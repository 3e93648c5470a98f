"""Calls that are repeated are written as sections; calls that may differ are made every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.planning.rehearsing.answers_compat import Answers
from toolkit.planning.rehearsing.fake_tensors_compat import without_data
from toolkit.planning.rehearsing.known_values import KnownValues
from toolkit.planning.rehearsing.repeats import RepeatMemory, Repeats
from toolkit.planning.rehearsing.scribe import Scribe
from toolkit.planning.rehearsing.script import Compute, Script

CPU = torch.device("cpu")
Call = Callable[..., Any]


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Call) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self.function(*args, **kwargs)


def rehearse(act: Callable[[Callable[[Call], Call]], Any], repeated: bool) -> tuple[Script, list[int]]:
    """What a rank writes, and what is allocated in the end, with and without repeats."""
    script, values, answers, live = Script(0), KnownValues(), Answers(), []
    with torch.no_grad(), without_data():
        scribe = Scribe(script, values, CPU, answers)
        wrap = Repeats(scribe, values, answers, RepeatMemory())
        with scribe:
            kept = act(wrap if repeated else lambda function: function)
            live.append(scribe.live)
            del kept
            live.append(scribe.live)
    return script, live


def flat(script: Script) -> list[tuple[str, int, int]]:
    """All operators, with what is allocated before each and the calls of the host."""
    found = []
    for step in script.steps:
        assert isinstance(step, Compute)
        section = script.sections.get(step.key)
        if section is None:
            found.append((step.key, step.live, step.calls))
            continue
        inner = list(section.steps)
        # What the host called between the last step and the section counts for its first step.
        inner[0] = inner[0]._replace(calls=inner[0].calls + step.calls - sum(one.calls for one in inner))
        found += [(one.key, step.live + one.live, one.calls) for one in inner]
    return found


def stage(receive: Call | None, x: Tensor) -> tuple[Tensor, Tensor]:
    """A stage of a model: what comes before its layers, what it receives, and its layers."""
    positions = (x * 2).view(-1)
    hidden = receive() if receive else x
    hidden = (hidden + positions.view(hidden.shape)).exp()
    return hidden.view(-1), x


def received() -> Tensor:
    return torch.zeros(4, 6)


@pytest.mark.parametrize("receive", [None, received], ids=["first stage", "later stage"])
def test_repeats_write_the_same_operators_and_memory(receive: Call | None) -> None:
    def act(repeated: Callable[[Call], Call]) -> Any:
        counted.append(Counted(stage))
        call, kept = repeated(counted[-1]), []
        for size in (4, 4, 4):
            x = torch.empty(size, 6)
            hidden, same = call(receive, x)
            assert same is x
            assert hidden.shape == (24,)
            kept.append(hidden.add(1))
        return kept

    counted: list[Counted] = []
    (once, live), (every, expected) = rehearse(act, True), rehearse(act, False)
    assert [one.calls for one in counted] == [1, 3]
    assert live == expected
    assert flat(once) == flat(every)
    assert max(size for _, size in once.allocated) <= max(size for _, size in every.allocated)


def asking(_: None, x: Tensor) -> Tensor:
    return x + 1 if bool((torch.arange(3) == 2).any()) else x


CACHE: list[Tensor] = []


def caching(_: None, x: Tensor) -> Tensor:
    CACHE.append(x * 2)
    return x + 1


def telling(_: None, x: Tensor) -> Tensor:
    return torch.arange(3)


@pytest.mark.parametrize("function", [asking, caching, telling])
def test_calls_that_may_differ_are_made_every_time(function: Call) -> None:
    def act(repeated: Callable[[Call], Call]) -> Any:
        call, x = repeated(counted), torch.empty(3)
        for _ in range(3):
            call(None, x)

    counted = Counted(function)
    rehearse(act, True)
    CACHE.clear()
    assert counted.calls == 3


def test_other_shapes_and_numbers_are_other_calls() -> None:
    def act(repeated: Callable[[Call], Call]) -> Any:
        call = repeated(counted)
        for shape, number in (((3,), 1), ((4,), 1), ((3,), 1.0), ((3,), True), ((3,), 1)):
            call(None, torch.empty(shape), number)

    counted = Counted(lambda _, x, number: x * number)
    rehearse(act, True)
    assert counted.calls == 4
