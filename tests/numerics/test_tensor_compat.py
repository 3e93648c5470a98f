"""If one of these fails after an update of torch, mend toolkit/numerics/tensor_compat.py: a private name has moved."""

import torch
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch.overrides import TorchFunctionMode

from toolkit.numerics.tensor_compat import (
    function_modes,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_map_only,
    tree_unflatten,
    version_of,
)

TREE = {"a": (1, [2, "three"]), "b": None}


class Mode(TorchFunctionMode):
    pass


def test_a_tree_comes_apart_and_together():
    leaves, spec = tree_flatten(TREE)
    assert leaves == tree_leaves(TREE) == [1, 2, "three", None]
    assert tree_unflatten(leaves, spec) == TREE
    assert tree_unflatten(iter(leaves), spec) == TREE
    assert spec == tree_flatten({"a": (9, [9, 9]), "b": 9})[1]
    assert spec.num_leaves == 4


def test_leaves_are_mapped():
    assert tree_map(str, TREE) == {"a": ("1", ["2", "three"]), "b": "None"}
    assert tree_map_only(int, lambda x: -x, TREE) == {"a": (-1, [-2, "three"]), "b": None}


def test_output_classes_of_diffusers_are_trees():
    x = torch.zeros(2)
    output = Transformer2DModelOutput(sample=x)
    assert [leaf is x for leaf in tree_leaves(output)] == [True]
    assert isinstance(tree_map(torch.ones_like, output), Transformer2DModelOutput)


def test_writes_are_counted_over_views():
    x = torch.zeros(4)
    before = version_of(x)
    x.view(2, 2)[0].add_(1)
    assert version_of(x) == before + 1
    x + 1
    assert version_of(x) == before + 1


def test_inference_tensors_have_no_count():
    with torch.inference_mode():
        x = torch.zeros(2)
        x.add_(1)
    assert version_of(x) == 0


def test_modes_are_listed_from_the_outermost():
    assert function_modes() == []
    with Mode() as outer, Mode() as inner:
        assert function_modes() == [outer, inner]
    assert function_modes() == []
