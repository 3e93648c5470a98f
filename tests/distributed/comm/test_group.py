"""Members of groups, and process groups that end with the call that made them."""

from __future__ import annotations

import inspect
import os
import re
import resource

import pytest
import torch
import torch.distributed as dist
from support.pipelines import PIPELINES
from support.staged import QUIET, plans

import toolkit as tk
from toolkit.distributed.comm import group
from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Groups, Member
from toolkit.distributed.comm.process_group_compat import AsyncCollectiveTensor, store_of
from toolkit.runs.trace import Recorder


def test_one_process_on_an_accelerator_needs_no_group():
    """An exchange asked the group that was not there for its backend."""
    alone = Member.of(None)
    device = torch.device("cuda")
    assert not alone.through_host(device)
    exchange = Exchange(alone, FailureFlag(None, 0), trace=Recorder(), device=device)
    exchange.flush()
    exchange.close()


def test_stages_over_a_group_of_their_own_are_refused_where_a_queue_would_hold_them_up(monkeypatch):
    own = Member(object(), 0, 2)
    monkeypatch.setattr(dist, "get_backend", lambda group=None: "gloo")
    assert Groups().like(own, "stages up") is own
    monkeypatch.setattr(Member, "queues_on_device", True)
    monkeypatch.setattr(dist, "get_backend", lambda group=None: "nccl")
    with pytest.raises(tk.PlanError, match=r"group of their own on nccl: .* Leave out group="):
        Groups().like(own, "stages up")


def with_few_descriptors() -> str:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 10, most[1]))
    try:
        Groups().like(Member.of(None), "test")
    except tk.RunError as error:
        return str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    return ""


def test_too_few_file_descriptors_are_said_in_words(cluster):
    """Gloo said "Socket" and no more."""
    words = r"connecting 5 ranks takes about \d+ more file descriptors, but \d+ of the \d+ .* `ulimit -n \d+`"
    assert all(re.search(words, said) for said in cluster.run(with_few_descriptors))


def in_one_group() -> tuple[bool, int]:
    """Whether further groups are the default one; the connections that they took."""
    before, group.MOST_IN_SEVERAL = len(os.listdir("/proc/self/fd")), 2
    made = Groups()
    try:
        member = made.like(Member.of(None), "outputs")
        return member.group is None, len(os.listdir("/proc/self/fd")) - before
    finally:
        made.close()
        group.MOST_IN_SEVERAL = 128


def test_many_ranks_have_one_group_whatever_its_messages_are_for(cluster):
    """Four groups of 256 ranks took more descriptors than the 1,024 that a process commonly has."""
    assert cluster.run(in_one_group) == [(True, 0)] * 5


def test_the_default_kernels_under_torchrun_are_those_of_a_cluster():
    """Distributed.generate had others, and so gave other bits for a tiled VAE plan on the CPU."""

    def default(function) -> str:
        return inspect.signature(function).parameters["convolutions"].default

    assert {default(tk.distributed.generate), default(tk.distributed.decode), default(tk.distributed.encode)} == {
        default(tk.Cluster.__init__)
    }


def groups_of_this_process() -> int:
    return len(dist.distributed_c10d._world.pg_map)


@pytest.mark.parametrize("fails", [False, True])
def test_groups_end_with_the_call_that_made_them(fails):
    """They stayed on ranks beyond the plan, and everywhere after a failure."""
    pipe = PIPELINES["wan"].build()
    plan = plans(pipe, tk.Schedule.interleaved(2, branches=2))
    call = {**QUIET, **PIPELINES["wan"].call(1)}
    if fails:
        call["callback_on_step_end"] = _raise

    def generate() -> tuple[int, int]:
        before = groups_of_this_process()
        arguments = {name: value for name, value in call.items() if name not in ("progress", "memory")}
        try:
            tk.distributed.generate(pipe, plan, **arguments)
        except (RuntimeError, tk.RunError):
            assert fails
        return before, groups_of_this_process()

    with tk.Cluster(ranks=3, device="cpu") as cluster:
        counts = cluster.run(generate)
    assert all(before == after for before, after in counts), counts


def _raise(*args, **kwargs):
    raise RuntimeError("a callback that fails")


def test_private_names_of_torch_distributed():
    """If this fails, a new torch has moved what process_group_compat.py stands for."""
    assert issubclass(AsyncCollectiveTensor, torch.Tensor)
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        store_of(None).set("key", "value")
        assert store_of(None).get("key") == b"value"
        assert store_of(dist.new_group([0])).check(["key"]) in (True, False)
    finally:
        dist.destroy_process_group()
