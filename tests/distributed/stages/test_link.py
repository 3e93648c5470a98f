"""Links between two ranks: any object, strides and all, forms that change, and what is given beside."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

import toolkit as tk
from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.stages.link import Link
from toolkit.runs.trace import Recorder


def messages() -> list[object]:
    """Under one key, one after the other: forms known, changed, and known again."""
    base = torch.arange(48.0).reshape(4, 12)
    return [
        base,
        base + 1,
        base[:, 3:9],  # not dense: kernels may round by strides
        base.t(),
        (base, [base.to(torch.bfloat16)[::2], None], {"x": 3, "mask": base > 5}),
        (base + 2, [base.to(torch.bfloat16)[::2] + 1, None], {"x": 3, "mask": base > 7}),
        base[:1].expand(4, 12),
        torch.empty(0, 3),
        torch.tensor(7),
        base,
    ]


def passed_on(digests: tuple[int, int]) -> list[object] | None:
    member = Member.of(None)
    if member.rank > 1:
        return None
    flag, trace = FailureFlag(member.store, member.rank), Recorder(member.rank)
    exchange = Exchange(member, flag, trace=trace, device=torch.device("cpu"))
    link, found = Link(exchange, 1 - member.rank), []
    try:
        for place, message in enumerate(messages()):
            if dist.get_rank() == 0:
                link.send(message, "key", digests[0] + place, "test")
            else:
                found.append(link.receive("key", digests[1] + place, "test"))
        exchange.flush()
    finally:
        exchange.close()
    return found


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


def test_objects_arrive_as_they_are(cluster):
    # Results come home in fresh memory, so strides are looked at where they arrive.
    def job():
        found = passed_on((5, 5))
        return found and [same(a, b) for a, b in zip(messages(), found, strict=True)], found and [
            x.stride() for x in found if isinstance(x, torch.Tensor)
        ]

    equal, strides = cluster.run(job)[1]
    assert equal == [True] * len(messages())
    expected = [x.stride() for x in messages() if isinstance(x, torch.Tensor)]
    expected[4] = (12, 1)  # expanded: sent in full
    assert strides == expected


def test_a_digest_that_differs(cluster):
    with pytest.raises(tk.RankFailed, match="different inputs"):
        cluster.run(lambda: passed_on((5, 6)) if dist.get_rank() == 1 else passed_on((5, 5)), timeout=60)
