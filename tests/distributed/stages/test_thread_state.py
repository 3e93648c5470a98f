"""What torch keeps per thread reaches a pipeline's thread: modes, in their order, and nothing stays behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, is_in_torch_dispatch_mode

from toolkit.distributed.stages.thread_state import ThreadState
from toolkit.numerics.tensor_compat import dispatch_modes, function_modes
from toolkit.planning.rehearsing.fake_tensors_compat import is_fake, without_data


class Named(TorchDispatchMode):
    """Writes its name down at every operator."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.name, self.log = name, log

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.log.append(self.name)
        return func(*args, **(kwargs or {}))


class Counting(TorchFunctionMode):
    """Counts calls of torch's functions."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.add
        return func(*args, **(kwargs or {}))


@pytest.fixture
def elsewhere():
    with ThreadPoolExecutor(1) as pool:
        yield lambda function: pool.submit(function).result(10)


def applied(state, function):
    def act():
        with state.applied():
            return function()

    return act


def test_dispatch_modes_are_on_in_their_order_and_off_afterwards(elsewhere):
    log: list[str] = []
    with Named("outer", log), Named("inner", log) as inner:
        state = ThreadState.current()
        assert dispatch_modes()[-1] is inner
    assert [mode.name for mode in state.dispatch] == ["outer", "inner"]
    elsewhere(applied(state, lambda: torch.ones(2) + 1))
    assert log == ["inner", "outer"] * 2
    elsewhere(lambda: torch.ones(2) + 1)
    assert len(log) == 4
    assert elsewhere(dispatch_modes) == dispatch_modes() == []


def test_function_modes_are_on_too(elsewhere):
    with Counting() as counting:
        state = ThreadState.current()
    assert state.modes == (counting,)
    elsewhere(applied(state, lambda: torch.add(torch.ones(2), 1)))
    assert counting.count == 1
    elsewhere(lambda: torch.add(torch.ones(2), 1))
    assert counting.count == 1
    assert elsewhere(function_modes) == function_modes() == []


def test_tensors_without_data_on_one_thread_are_so_on_another(elsewhere):
    with without_data():
        state = ThreadState.current()
        assert elsewhere(applied(state, lambda: is_fake(torch.ones(2))))
        assert not elsewhere(lambda: is_fake(torch.ones(2)))
        # The other thread has left the mode; this one is still in it.
        assert is_fake(torch.ones(2))
        assert elsewhere(applied(state, lambda: is_fake(torch.ones(2))))
    assert not is_fake(torch.ones(2))
    assert not is_in_torch_dispatch_mode()


def test_a_failure_leaves_no_mode_behind(elsewhere):
    def fail():
        raise ValueError("under modes")

    with Named("outer", []), Counting(), torch.autocast("cpu", torch.bfloat16):
        state = ThreadState.current()
    with pytest.raises(ValueError, match="under modes"):
        elsewhere(applied(state, fail))
    assert elsewhere(dispatch_modes) == elsewhere(function_modes) == []
    assert not elsewhere(lambda: torch.is_autocast_enabled("cpu"))
