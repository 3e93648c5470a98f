"""Transfers between two ranks begin in one place, and ranks that share a card say so or are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import toolkit
from toolkit.distributed.comm.one_card import settings, share_one_card
from toolkit.errors import PlanError

HOME = Path(toolkit.__file__).parent
STARTS = re.compile(r"\b(isend|irecv|P2POp|batch_isend_irecv|dist\.(send|recv)|send_object_list|recv_object_list)\b")


def test_only_one_file_starts_transfers_between_two_ranks():
    """What is started one by one elsewhere would escape the model of NCCL, and could hang."""
    found = {path.relative_to(HOME).as_posix() for path in HOME.rglob("*.py") if STARTS.search(path.read_text())}
    assert found == {"distributed/comm/group.py"}


def test_nccl_lets_ranks_share_a_card_and_others_do_not(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    cuda = torch.device("cuda")
    assert share_one_card(cuda, 2, "nccl")
    assert not share_one_card(cuda, 1, "nccl")
    assert not share_one_card(cuda, 2, "gloo")
    with pytest.raises(PlanError, match=r"backend='xccl' for 2 ranks on 1 device\(s\): only gloo"):
        share_one_card(torch.device("xpu"), 2, "xccl")


def test_every_rank_on_a_card_is_a_host_of_its_own():
    assert len({settings(rank)["NCCL_HOSTID"] for rank in range(4)}) == 4
