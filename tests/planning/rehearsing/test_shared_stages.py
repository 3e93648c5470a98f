"""Rehearsals of stages that ranks share (sp, tp) beside runs: the same messages, collectives, memory and refusals."""

from __future__ import annotations

import re
import weakref
from collections import Counter
from time import sleep
from typing import Any

import pytest
import torch
from support.pipelines import PIPELINES
from support.staged import QUIET, plans
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import toolkit as tk
from toolkit.bench.rehearsal_accuracy import sent
from toolkit.numerics.tensor_compat import tree_leaves
from toolkit.planning.rehearsing import stopwatch
from toolkit.planning.rehearsing.profiling import profile
from toolkit.planning.rehearsing.rehearse import rehearse

# Flux makes one call per step, and is tried under the same schedules as those that make two.
pytestmark = pytest.mark.filterwarnings("ignore:.* called its transformer once per step")

ONE, TWO = tk.Schedule.sequential(1, branches=2), tk.Schedule.interleaved(2, branches=2)
SMALL = {"num_frames": 1, "num_inference_steps": 1, "height": 32, "width": 64, "output_type": "latent"}


@pytest.fixture(scope="module")
def pipe():
    """The demo pipeline with two layers."""
    one = tk.demo.pipeline()
    one.transformer.blocks = one.transformer.blocks[:2]
    return one


class Counting(TorchDispatchMode):
    """Counts the collectives of a run, from outside: by name, how many and how many bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        c10d, functional = torch.ops.c10d, torch.ops._c10d_functional
        counted = {
            c10d.allreduce_.default: ("all_reduce", args[0]),
            c10d.allgather_.default: ("all_gather", args[0]),
            functional.all_gather_into_tensor.default: ("all_gather", out),
            functional.all_to_all_single.default: ("all_to_all", args[0]),
        }
        if func in counted:
            name, moved = counted[func]
            self.seen[name, "calls"] += 1
            self.seen[name, "bytes"] += sum(one.nbytes for one in tree_leaves(moved) if isinstance(one, Tensor))
        return out


def counted(pipe: Any, plan: Any, call: dict[str, Any]) -> dict:
    with Counting() as counting, torch.no_grad():
        tk.distributed.generate(pipe, plan, **call)
    return dict(counting.seen)


def collectives(rehearsal: tk.Rehearsal) -> dict[int, dict]:
    found: dict[int, dict] = {}
    for row in rehearsal.collectives.itertuples():
        found.setdefault(row.rank, {}).update(
            {(row.operation, "calls"): row.calls, (row.operation, "bytes"): row.bytes}
        )
    return found


def stages(run: tk.Run) -> Counter:
    rows = run.trace[run.trace["kind"].isin(["stage", "send", "receive"])]
    return Counter(zip(rows["rank"], rows["kind"], rows["label"], strict=True))


def check_alike(cluster: tk.Cluster, pipe: Any, plan: Any, **call: Any) -> set[str]:
    """Compare everything but times and memory; returns the collectives that there were."""
    rehearsal, run = rehearse(pipe, plan=plan, **call), cluster.generate(pipe, plan, **QUIET, **call)
    assert sent(rehearsal) == sent(run)
    assert stages(rehearsal) == stages(run) != Counter()
    assert rehearsal.shape == run.shape
    ranks = cluster.run(counted, pipe, plan, call)
    assert collectives(rehearsal) == {rank: seen for rank, seen in enumerate(ranks) if seen}
    return set(rehearsal.collectives["operation"])


@pytest.mark.parametrize("schedule", [ONE, TWO], ids=["one stage", "two stages"])
@pytest.mark.parametrize(("axis", "kinds"), [("tp", {"all_reduce"}), ("sp", {"all_to_all", "all_gather"})])
def test_a_rehearsal_sends_and_adds_up_what_a_run_does(cluster, pipe, schedule, axis, kinds):
    plan = plans(pipe, schedule, **{axis: 2})
    assert check_alike(cluster, pipe, plan, **tk.demo.call(**SMALL)) == kinds


@pytest.mark.parametrize(
    ("name", "axis"),
    [("flux", "tp"), ("qwen_image", "sp")],
)
def test_so_it_does_for_other_pipelines(cluster, name, axis):
    """With texts that are cut in unequal parts, whose lengths ranks tell each other, and with masks."""
    tiny = PIPELINES[name]
    one = tiny.build()
    few = {"num_inference_steps": 2 if name == "qwen_image" else 1}
    assert check_alike(cluster, one, plans(one, TWO, **{axis: 2}), **tiny.call(1, **few))


def test_so_it_does_for_requests_and_four_ranks_of_one_stage(cluster, pipe):
    seeded = [{"generator": torch.Generator().manual_seed(seed)} for seed in range(2)]
    requests = plans(pipe, tk.Schedule.requests(2, 2, requests=2), sp=2)
    call = {**tk.demo.call(**SMALL), "requests": seeded}
    check_alike(cluster, pipe, requests, **call)
    check_alike(cluster, pipe, plans(pipe, ONE, tp=4), **tk.demo.call(**SMALL))


def refused(call: Any) -> tk.ToolkitError:
    with pytest.raises(tk.ToolkitError) as refusal:
        call()
    return refusal.value


@pytest.mark.parametrize(("axes", "words"), [({"tp": 3}, "tp=3 .* 4 heads"), ({"sp": 3}, "sp=3 .* 4 heads")])
def test_what_does_not_divide_is_refused_in_the_same_words(cluster, pipe, axes, words):
    plan = plans(pipe, ONE, **axes)
    mine = refused(lambda: rehearse(pipe, plan=plan, **tk.demo.call(**SMALL)))
    its = refused(lambda: cluster.generate(pipe, plan, **QUIET, **tk.demo.call(**SMALL)))
    assert (type(mine), str(mine)) == (type(its), str(its))
    assert re.search(words, str(mine))


def test_so_is_a_sequence_that_does_not_in_the_middle_of_a_run(cluster, pipe):
    plan, call = plans(pipe, TWO, sp=2), tk.demo.call(**SMALL | {"height": 16, "width": 48})
    mine = refused(lambda: rehearse(pipe, plan=plan, **call))
    its = refused(lambda: cluster.generate(pipe, plan, **QUIET, **call))
    assert "3 tokens, which is not divisible by sp=2" in str(mine)
    assert f"raised PlanError: {mine}" in str(its)


class Holding(TorchDispatchMode):
    """Counts the bytes of the tensors that a run has made and still holds.

    Not by the profiler: gloo's own threads are often the last to let go of a tensor that they move, which it overlooks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._shared = False
        self._seen: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._shared:
            # The collective before has ended; a moment for gloo's threads to let go as well.
            sleep(0.003)
        self._shared = func.namespace in ("c10d", "_c10d_functional")
        for storage in storages((args, kwargs)):
            self._seen.setdefault(storage, 0)
        out = func(*args, **(kwargs or {}))
        for storage in storages(out):
            if storage not in self._seen:
                self._seen[storage] = storage.nbytes()
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return out

    def _add(self, size: int) -> None:
        self.live += size
        self.peak = max(self.peak, self.live)


def storages(tree: Any) -> list[Any]:
    # What a collective returns until somebody waits is a tensor of another type around the one that counts.
    return [one.untyped_storage() for one in tree_leaves(tree) if type(one) in (Tensor, torch.nn.Parameter)]


def held(pipe: Any, plan: Any, call: dict[str, Any]) -> int:
    with Holding() as holding, torch.no_grad():
        tk.distributed.generate(pipe, plan, **call)
    return holding.peak


def test_memory_with_a_profile_is_that_of_a_run(cluster, pipe, monkeypatch):
    # Times do not matter here: one of each operator.
    monkeypatch.setattr(stopwatch, "ENOUGH", 0.0)
    monkeypatch.setattr(stopwatch, "FEWEST", 1)
    call = tk.demo.call(**SMALL | {"height": 64, "num_frames": 13, "guidance_scale": 1.0})
    # A single branch: what a rank has sent has left when it posts again, however busy the machine is.
    schedules = [tk.Schedule.sequential(stages, branches=1) for stages in (1, 2)]
    several = [plans(pipe, schedule, **axis) for schedule in schedules for axis in ({"tp": 2}, {"sp": 2})]
    measured = profile(pipe, plan=several, device="cpu", **call)
    for plan in several:
        # Workers prove the class in their first call.
        runs = [cluster.run(held, pipe, plan, call) for _ in range(2)]
        rehearsal = rehearse(pipe, plan=plan, profile=measured, **call)
        assert rehearsal.estimated == 0 < rehearsal.seconds
        for rank, peak in rehearsal.peaks.items():
            assert abs(peak / min(run[rank] for run in runs) - 1) < 0.02, (rank, peak, runs)


def held_of_folder(folder: str, plan: Any, call: dict[str, Any]) -> int:
    part = tk.distributed.load(folder, plan) if torch.distributed.get_rank() < 2 else folder
    return held(part, plan, call)


def test_ranks_hold_no_more_than_their_part_of_a_pipeline_in_a_folder(cluster, tmp_path):
    tiny = PIPELINES["wan"]
    pipe, folder, call = tiny.build(), tiny.save(tmp_path), tiny.call(1, num_inference_steps=1)
    plan = plans(pipe, ONE, tp=2)
    own, saved = (rehearse(one, plan=plan, **call) for one in (pipe, folder))
    assert saved.collectives.equals(own.collectives)
    assert (saved.peaks < own.peaks).all()
    run = cluster.run(held_of_folder, folder, plan, call)
    assert all(abs(peak / run[rank] - 1) < 0.05 for rank, peak in saved.peaks.items())
