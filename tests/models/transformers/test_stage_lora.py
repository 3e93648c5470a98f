"""LoRA on stages: adapters loaded before the cut, or onto stages that were loaded alone, act as on the whole."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from support.pipelines import PIPELINES, load
from torch.utils._pytree import tree_leaves

from toolkit.geometry.span import Span
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.stage import Stage
from toolkit.models.transformers.stage_pipeline import load_pipeline


@pytest.mark.parametrize("name", ["wan", "flux"])
def test_stages_with_an_adapter_compute_what_the_whole_with_it_does(name, tmp_path):
    one, folder, adapter = PIPELINES[name], tmp_path / "pipeline", tmp_path / "adapter"
    trained = load(one.save(folder))
    torch.manual_seed(0)
    targets = ["to_q", "to_k", "to_v"]
    trained.transformer.add_adapter(LoraConfig(r=4, init_lora_weights=False, target_modules=targets))
    layers = get_peft_model_state_dict(trained.transformer)
    type(trained).save_lora_weights(adapter, transformer_lora_layers=layers)

    whole = load(folder)
    plain = one.run(whole)
    whole.load_lora_weights(adapter)
    seen = []
    hook = whole.transformer.register_forward_pre_hook(lambda _, *call: seen.append(call), with_kwargs=True)
    assert not torch.equal(one.run(whole), plain)
    hook.remove()
    args, kwargs = seen[0]

    def alone(span):
        mine = load_pipeline(folder, {"transformer": [span]})
        mine.load_lora_weights(adapter)
        assert list(mine.transformer.state_dict()) == list(whole.transformer.state_dict())
        return mine.transformer

    with torch.no_grad():
        own = whole.transformer(*args, **kwargs)
        for cut in (lambda span: whole.transformer, alone):
            payload = None
            for span in (Span(0, 2), Span(2, 5), Span(5, len(layers_of(whole.transformer)))):
                receive = (lambda given=payload: given) if span.start else None
                payload = Stage(cut(span), span)(receive, *args, **kwargs)
            assert all(map(torch.equal, tree_leaves(payload), tree_leaves(own)))
