"""What pipelines on request threads keep of the thread that called them: autocast, memory, every expert's plan."""

from __future__ import annotations

import pytest
import torch
from support.pipelines import PIPELINES
from support.staged import QUIET, plans

import toolkit as tk
from toolkit.distributed.stages.thread_state import ThreadState


@pytest.fixture(scope="module")
def two():
    with tk.Cluster(ranks=2, device="cpu") as cluster:
        yield cluster


def requests_of(tiny, seeds) -> tuple[dict, list[dict]]:
    calls = [tiny.call(seed) for seed in seeds]
    own = [{"generator": call.pop("generator")} for call in calls]
    return calls[0], own


def test_autocast_of_the_kernel_reaches_the_ranks(two):
    """Generate ran without it."""
    tiny = PIPELINES["wan"]
    pipe = tiny.build()
    plan = plans(pipe, tk.Schedule.interleaved(2, branches=2))
    plain = two.generate(pipe, plan, **QUIET, **tiny.call(1)).output
    with torch.autocast("cpu", torch.bfloat16):
        whole = two.generate(pipe, **QUIET, **tiny.call(1)).output
        staged = two.generate(pipe, plan, **QUIET, **tiny.call(1)).output
    assert torch.equal(staged, whole)
    assert not torch.equal(staged, plain)


def test_autocast_reaches_the_threads_of_requests(two):
    """Each request runs on a thread of its own, where torch has autocast off."""
    tiny = PIPELINES["wan"]
    pipe = tiny.build()
    plan = plans(pipe, tk.Schedule.requests(2, branches=2, requests=2))
    call, requests = requests_of(tiny, (1, 2))
    with torch.autocast("cpu", torch.bfloat16):
        whole = [two.generate(pipe, **QUIET, **tiny.call(seed)).output for seed in (1, 2)]
        run = two.generate(pipe, plan, requests=requests, **QUIET, **call)
    assert all(torch.equal(one, other) for one, other in zip(run.output, whole, strict=True))


def test_peaks_count_what_runs_on_the_threads_of_requests(two):
    """The profiler sees one thread only."""
    tiny = PIPELINES["wan"]
    pipe = tiny.build()
    one = two.generate(pipe, plans(pipe, tk.Schedule.interleaved(2, 2)), **{**QUIET, "memory": True}, **tiny.call(1))
    call, requests = requests_of(tiny, (1, 2))
    plan = plans(pipe, tk.Schedule.requests(2, branches=2, requests=2))
    both = two.generate(pipe, plan, requests=requests, **{**QUIET, "memory": True}, **call)
    assert (both.peaks >= one.peaks * 0.9).all(), (both.peaks, one.peaks)
    assert both.memory.groupby("rank")["time"].max().max() <= both.seconds


def test_a_run_keeps_the_plan_of_every_transformer(two):
    """Only the first one's was kept."""
    tiny = PIPELINES["wan_a14b"]
    pipe = tiny.build()
    given = plans(pipe, tk.Schedule.interleaved(2, branches=2))
    by_name = given if isinstance(given, dict) else {"transformer": given, "transformer_2": given}
    run = two.generate(pipe, by_name, **QUIET, **tiny.call(1))
    assert run.plans == by_name
    assert run.plan == by_name["transformer"]
    assert repr(by_name["transformer_2"]) in run.record.plan


def test_the_state_of_a_thread():
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        state = ThreadState.current()
    assert not torch.is_autocast_enabled("cpu")
    with state.applied():
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") is torch.bfloat16
        assert not torch.is_grad_enabled()
        assert torch.get_num_threads() == state.threads
    assert torch.is_grad_enabled()
