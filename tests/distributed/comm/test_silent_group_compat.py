"""If this fails after an update of torch, mend silent_group_compat.py: a private name has moved."""

import torch
import torch.distributed as dist
from support.rehearsed import tables

from toolkit.distributed.comm.silent_group_compat import SilentGroup, SilentGroups
from toolkit.planning.rehearsing.fake_tensors_compat import without_data


def test_torch_knows_a_group_until_it_is_closed():
    before, groups = tables(), SilentGroups()
    groups.add(group := SilentGroup("some", 1, 2, lambda outputs, own: None), "cpu:gloo")
    assert (group.group_name, group.rank(), group.size()) == ("some", 1, 2)
    assert (dist.get_rank(group), dist.get_world_size(group), dist.get_backend(group)) == (1, 2, "cpu:gloo")
    assert dist.is_initialized()
    with without_data():
        assert torch.ops._c10d_functional.all_gather_into_tensor(torch.ones(2, 3), 2, "some").shape == (4, 3)
    for _ in range(2):
        groups.close()
        assert tables() == before
