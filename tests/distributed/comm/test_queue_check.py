"""The model of NCCL, and every mode under it: with no buffers at all, no transfer may wait for ever."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.posted import recorded

import toolkit as tk
from toolkit.distributed.comm.queue_check import Posted, Stuck, Transfer, Waited, check_queues
from toolkit.models.transformers.layers import layers_of

BEFORE = json.loads((Path(__file__).parent / "orders_before_groups.json").read_text())
"""What each rank posted and waited for before transfers were grouped: ``[kind, group, peer, bytes, label]``."""

PLENTY = 10**9


def program(steps: list[list[Any]]) -> list[Posted | Waited]:
    return [
        Waited(tuple(step[1]))
        if step[0] == "wait"
        else Posted((Transfer(step[0] == "send", *step[2:]),), communicator=step[1])
        for step in steps
    ]


class TestModel:
    @pytest.mark.parametrize("name", list(BEFORE))
    def test_the_order_before_groups_is_guilty(self, name):
        programs = [program(steps) for steps in BEFORE[name]]
        check_queues(programs, PLENTY)  # what gloo did with it
        with pytest.raises(Stuck, match=r"rank 0: .* rank \d \(.*\d+ bytes\)\nrank"):
            check_queues(programs)

    def test_two_ranks_that_send_first(self):
        def one(peer: int, size: int = 9) -> list[Posted]:
            return [Posted((Transfer(sends, peer, size, "halo"),)) for sends in (True, False)]

        with pytest.raises(Stuck, match=r"rank 0: send to rank 1 \(halo, 9 bytes\)\nrank 1: send to rank 0"):
            check_queues([one(1), one(0)], buffer=8)
        check_queues([one(1), one(0)], buffer=9)

    def test_a_ring_of_three_in_groups(self):
        def ring(rank: int) -> list[Posted | Waited]:
            group = Transfer(True, (rank + 1) % 3, 5), Transfer(False, (rank - 1) % 3, 5)
            return [Posted(group), Waited((0,)), Posted(group), Waited((1,))]

        check_queues([ring(rank) for rank in range(3)])

    def test_queues_of_two_communicators_do_not_wait_for_each_other(self):
        def crossed(names: tuple[str, str]) -> list[list[Posted]]:
            a, b = names
            return [
                [Posted((Transfer(True, 1, 1),), a), Posted((Transfer(False, 1, 1),), b)],
                [Posted((Transfer(True, 0, 1),), b), Posted((Transfer(False, 0, 1),), a)],
            ]

        check_queues(crossed(("up", "down")))
        with pytest.raises(Stuck):
            check_queues(crossed(("one", "one")))

    def test_what_is_waited_for_too_early(self):
        """Rank 0 stops for a message before it has sent what rank 1 needs to send it."""
        first = [Posted((Transfer(False, 1, 1),)), Waited((0,)), Posted((Transfer(True, 1, 1),))]
        second = [Posted((Transfer(False, 0, 1),)), Waited((0,)), Posted((Transfer(True, 0, 1),))]
        with pytest.raises(Stuck):
            check_queues([first, second], PLENTY)

    def test_sizes_and_single_ends(self):
        with pytest.raises(Stuck, match="both ends need the same size"):
            check_queues([[Posted((Transfer(True, 1, 4),))], [Posted((Transfer(False, 0, 5),))]])
        with pytest.raises(Stuck, match="rank 0: receive from rank 1"):
            check_queues([[Posted((Transfer(False, 1, 4),))], []])


def decoded(vae: Any, x: torch.Tensor, plan: Any, **more: Any) -> list[Posted | Waited]:
    return recorded(lambda: tk.distributed.decode(vae, x, plan, **more))


GRID = tk.TileGrid.cover({"h": 24, "w": 20}, tile=8, overlap=2)
TRIPLE = tk.TileGrid.strided({"h": 24, "w": 20}, tile=8, stride=3)
ONE = tk.TileGrid.cover({"h": 24, "w": 20}, tile=24)


def tiles(grid: tk.TileGrid, how: str, ranks: int, root: int = 0) -> tk.TilePlan:
    return tk.TilePlan(grid, tk.Blend.linear(), getattr(tk.Assignment, how)(grid, ranks), root=root)


def streamed(band: torch.Tensor, at: int) -> None:
    """Takes a band."""


DECODES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "shares": ("kl", tiles(GRID, "balanced", 4), {}),
    "shares, round robin": ("kl", tiles(GRID, "round_robin", 3, root=1), {}),
    "whole tiles": ("kl", tiles(TRIPLE, "round_robin", 3), {}),
    "one tile, elsewhere": ("kl", tk.TilePlan(ONE, tk.Blend.linear(), tk.Assignment((1,), 2)), {}),
    "streamed": ("kl", tiles(GRID, "balanced", 4), {"stream": streamed}),
    "streamed, round robin": ("kl", tiles(GRID, "round_robin", 3, root=2), {"stream": streamed}),
    "norm passes": ("kl", tiles(GRID, "balanced", 3), {"norm_passes": 2}),
    "shards 2x1": ("kl", tk.ShardPlan(h=2), {}),
    "shards 3x1": ("wan21", tk.ShardPlan(h=3), {}),
    "shards 2x2": ("kl", tk.ShardPlan(h=2, w=2, root=3), {}),
    "shards 2x2 of Wan": ("wan22", tk.ShardPlan(h=2, w=2), {}),
    "shards, ring": ("kl", tk.ShardPlan(h=4, attention="ring"), {}),
    "shards, recompute": ("wan21", tk.ShardPlan(h=2, borders="recompute"), {}),
}


@pytest.mark.parametrize("name", list(DECODES))
def test_autoencoders(cluster, name):
    model, plan, more = DECODES[name]
    programs = cluster.run(decoded, tiny.MODELS[model](), tiny.latent(model, 24, 20), plan, **more)
    check_queues(programs)
    assert sum(isinstance(step, Posted) for steps in programs for step in steps) > 1


CALL = {
    "prompt": "a red ball moves right",
    "height": 32,
    "width": 32,
    "num_frames": 5,
    "max_sequence_length": 16,
    "num_inference_steps": 3,
    "guidance_scale": 4.0,
    "output_type": "pt",
}


def generated(plan: tk.StagePlan, requests: int) -> list[Posted | Waited]:
    call = {**CALL, "generator": torch.Generator().manual_seed(0)}
    if requests:
        call["requests"] = [{"generator": torch.Generator().manual_seed(n)} for n in range(requests)]
        del call["generator"]
    return recorded(lambda: tk.distributed.generate(tk.demo.pipeline(), plan, **call))


def staged(schedule: tk.Schedule, **more: Any) -> tk.StagePlan:
    layers = len(layers_of(tk.demo.pipeline().transformer))
    return tk.StagePlan(tk.StageSplit.even(layers, schedule.depth), schedule, **more)


STAGES: dict[str, tuple[tk.StagePlan, int]] = {
    "sequential": (staged(tk.Schedule.sequential(2, 2)), 0),
    "interleaved": (staged(tk.Schedule.interleaved(3, 2)), 0),
    "looped": (staged(tk.Schedule.looped(2, 2, 2)), 0),
    "looped, four ranks": (staged(tk.Schedule.looped(4, 2, 2)), 0),
    "requests": (staged(tk.Schedule.requests(2, 2, 3)), 3),
    "requests, looped": (staged(tk.Schedule.requests(2, 2, 2, chunks=2)), 2),
    "guidance branches apart": (staged(tk.Schedule.interleaved(2, 1), cfg=2), 0),
    "a split sequence": (staged(tk.Schedule.interleaved(2, 2), sp=2), 0),
    "split weights": (staged(tk.Schedule.looped(2, 2, 2), tp=2), 0),
    "modules elsewhere": (staged(tk.Schedule.interleaved(2, 2), encoders=1), 0),
    "a sharded decode": (replace(staged(tk.Schedule.interleaved(2, 2)), vae=tk.ShardPlan(h=2)), 0),
}


@pytest.mark.parametrize("name", list(STAGES))
def test_stages(cluster, name):
    plan, requests = STAGES[name]
    programs = cluster.run(generated, plan, requests)
    check_queues(programs)
    assert sum(isinstance(step, Posted) for steps in programs for step in steps) > 10
