"""Modules that cannot be sent to other processes are refused, with the path of the weight that is to blame."""

import pytest
import torch
import torch.distributed as dist
from accelerate import cpu_offload
from torch import nn
from torch.distributed.tensor import DTensor, Replicate

import toolkit as tk
from toolkit.models.module_check import check_module


def test_plain_modules_pass():
    check_module("net", nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    check_module("net", nn.Linear(2, 2, device="meta"), weights=False)


def test_offloaded_weights_say_who_has_them():
    net = nn.Sequential(nn.Linear(2, 2))
    cpu_offload(net, torch.device("cpu"))
    with pytest.raises(tk.ModelError, match=r"net\.0\.weight is offloaded by accelerate.*remove_all_hooks"):
        check_module("net", net)


def test_weights_that_are_spread_over_processes():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        mesh = dist.init_device_mesh("cpu", (1,))
        net = nn.Linear(2, 2)
        net.weight = nn.Parameter(DTensor.from_local(net.weight.data, mesh, [Replicate()]))
        with pytest.raises(tk.ModelError, match=r"net\.weight is a DTensor"):
            check_module("net", net)
    finally:
        dist.destroy_process_group()
