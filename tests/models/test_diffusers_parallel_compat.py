"""If one of these fails after an update of diffusers, mend toolkit/models/diffusers_parallel_compat.py."""

import pytest
import torch

from toolkit.models import diffusers_parallel_compat as compat
from toolkit.models.diffusers_compat import foreign_hooks
from toolkit.models.transformers.transformer_census import transformer


class Mesh:
    """As much of a DeviceMesh as a config of diffusers looks at."""

    def size(self) -> int:
        return 2

    def get_local_rank(self) -> int:
        return 1


def test_processors_can_share_a_sequence():
    model = transformer("Flux").build()
    processors = compat.attention_processors(model)
    assert len(processors) == 5
    assert compat.unshared_backends(processors) == []
    for one in processors:  # not by set_attention_backend, which changes the default of the whole process too
        one._attention_backend = "flex"
    assert compat.unshared_backends(processors) == ["flex"]
    assert not compat.is_parallel(model)


def test_sequence_hooks_are_made_and_taken_off():
    model = transformer("Flux").build()
    before = {module: dict(vars(module)) for module in model.modules()}
    config = compat.ulysses_config(Mesh(), torch.device("cpu"))
    assert config.context_parallel_config.ulysses_degree == 2
    hooks = compat.sequence_hooks(model, config)
    assert hooks
    assert {module: dict(vars(module)) for module in model.modules()} == before
    (one, *_), processors = hooks, compat.attention_processors(model)
    with compat.sharing(processors, config, hooks=hooks):
        assert processors[0]._parallel_config is config
        assert "forward" in vars(one)
        # names of hooks that the check for foreign ones must let pass
        assert all(foreign_hooks(module) == [] for module in hooks)
    assert {module: dict(vars(module)) for module in model.modules()} == before
    assert processors[0]._parallel_config is None


def test_cuts_of_weights_are_resolved():
    model = transformer("Flux").build()
    cuts = compat.cuts_of(model, compat.stated_tensor_plan(model), parts=2)
    cut = cuts["transformer_blocks.0.attn.to_q.weight"]
    assert cut.dim == 0
    assert sum(cut.block_sizes) == model.transformer_blocks[0].attn.to_q.weight.shape[0]
    assert {cut.dim for cut in cuts.values()} == {0, 1, None}
    with pytest.raises(ValueError, match="7"):
        compat.cuts_of(model, compat.stated_tensor_plan(model), parts=7)
