"""Blends: four names, two fields, one refusal."""

import pickle
from dataclasses import FrozenInstanceError

import pytest

from toolkit.errors import PlanError
from toolkit.geometry import Blend

NAMED = {
    Blend.linear(): ("linear", "window", "Blend.linear()"),
    Blend.cosine(): ("cosine", "window", "Blend.cosine()"),
    Blend.crop(): ("crop", "window", "Blend.crop()"),
    Blend.diffusers(): ("linear", "cascade", "Blend.diffusers()"),
}


@pytest.mark.parametrize(("blend", "parts"), NAMED.items())
def test_a_blend_is_a_value_that_prints_as_it_is_made(blend, parts):
    assert (blend.ramp, blend.merge, repr(blend)) == parts
    assert blend == Blend(*parts[:2])
    assert eval(repr(blend)) == blend
    assert pickle.loads(pickle.dumps(blend)) == blend
    assert len(NAMED) == 4
    with pytest.raises(FrozenInstanceError):
        blend.ramp = "crop"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("cubic",), "ramp='cubic': must be one of linear, cosine, crop"),
        (("linear", "sum"), "merge='sum': must be one of window, cascade"),
        (("cosine", "cascade"), "ramp='cosine' with merge='cascade': diffusers' cascade has linear ramps only"),
        (("crop", "cascade"), "ramp='crop' with merge='cascade'"),
    ],
)
def test_a_blend_says_what_is_wrong(wrong, said):
    with pytest.raises(PlanError) as error:
        Blend(*wrong)
    assert said in str(error.value)
