"""A pipeline as one rank runs it: what each request has to itself."""

from __future__ import annotations

import torch
from support.engines import alone
from support.pipelines import PIPELINES
from support.staged import plans

import toolkit as tk
from toolkit.distributed.comm.group import Groups
from toolkit.distributed.stages.agenda import Agenda
from toolkit.distributed.stages.assembly import Assembly


def assembled(pipe):
    rank = alone()
    return Assembly(pipe, plans(pipe, tk.Schedule.interleaved(1, 2)), rank, Groups()).pipeline(Agenda(rank))


def test_a_request_has_a_scheduler_of_its_own_with_the_same_numbers():
    pipe = PIPELINES["wan"].build()
    mine, own = vars(assembled(pipe).scheduler), vars(pipe.scheduler)
    tensors = {name for name, value in own.items() if isinstance(value, torch.Tensor)}
    assert len(tensors) > 5
    assert all(torch.equal(mine[name], own[name]) and mine[name] is not own[name] for name in tensors)
    assert not {mine[name].data_ptr() for name in tensors} & {own[name].data_ptr() for name in tensors}
    assert {k: v for k, v in mine.items() if k not in tensors} == {k: v for k, v in own.items() if k not in tensors}


def test_a_schedulers_copy_takes_the_memory_of_its_own_tensors():
    """On a worker they are views of one block, in which all arguments of the call lie: pictures, embeddings."""
    pipe = PIPELINES["wan"].build()
    block = torch.zeros(1_000_000)
    block[:1000] = pipe.scheduler.betas
    pipe.scheduler.betas = block[:1000]
    mine = assembled(pipe).scheduler.betas
    assert torch.equal(mine, pipe.scheduler.betas)
    assert mine.untyped_storage().nbytes() == mine.nbytes
