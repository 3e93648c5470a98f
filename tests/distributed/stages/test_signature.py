"""Signatures tell shapes apart, digests tell values apart, and neither sees what differs between processes."""

from __future__ import annotations

import pytest
import torch

from toolkit.distributed.stages.deferred import Deferred
from toolkit.distributed.stages.signature import digest, signature


class Opaque:
    """An object whose repr holds its address."""


BASE = {"x": torch.zeros(2, 3), "scale": 1.5, "text": "a cat", "none": None}
OTHER_FORMS = {
    "shape": {"x": torch.zeros(3, 2)},
    "dtype": {"x": torch.zeros(2, 3, dtype=torch.bfloat16)},
    "number": {"scale": 2.5},
    "string": {"text": "a dog"},
    "more": {"mask": torch.ones(1)},
}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_other_forms_have_other_signatures_and_digests(name):
    other = {**BASE, **OTHER_FORMS[name]}
    assert signature(other) != signature(BASE)
    assert digest(other) != digest(BASE)


def test_values_of_tensors_are_not_in_the_signature():
    assert signature({**BASE, "x": torch.ones(2, 3)}) == signature(BASE)


def test_objects_count_by_their_class_only():
    assert signature([Opaque()]) == signature([Opaque()]) == "[Opaque]"
    assert digest([Opaque()]) == digest([Opaque()])


def values() -> torch.Tensor:
    return torch.arange(1.0, 13.0)


DIFFERENT = {
    "one value": lambda x: x.index_fill(0, torch.tensor(7), 0.5),
    "sign": lambda x: -x,
    "order": lambda x: x.flip(0),
    "two swapped": lambda x: x[torch.tensor([1, 0, *range(2, 12)])],
    "a pair of equal values added": lambda x: torch.cat([x[:-2], torch.full((2,), 5.0)]),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_other_values_have_other_digests(name):
    assert digest([DIFFERENT[name](values())]) != digest([values()])


def test_the_last_bit_counts_in_every_dtype():
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex64):
        x = torch.ones(5, dtype=dtype)
        y = x.clone()
        y[3] += torch.finfo(dtype).eps
        assert digest([x]) != digest([y])


def test_strides_storage_and_deferral_do_not_count():
    x = torch.randn(4, 6)
    assert digest([x]) == digest([x.t().contiguous().t()]) == digest([torch.cat([x, x])[:4]])
    assert digest([Deferred(lambda: x)]) == digest([x])
    assert signature([Deferred(lambda: x)]) == signature([x])


def test_empty_tensors_scalars_and_the_order_of_tensors():
    empty, one, two = torch.empty(0, 3), torch.tensor(1.0), torch.tensor(2.0)
    assert digest([empty]) == digest([empty.clone()])
    assert digest([one, two]) != digest([two, one])


def test_a_digest_fits_into_an_int64():
    for seed in range(50):
        number = digest([torch.randn(9, generator=torch.Generator().manual_seed(seed))])
        assert 0 <= number < 2**63
        assert int(torch.tensor([number])) == number
