"""If one of these fails after an update of diffusers, mend toolkit/models/diffusers_compat.py: a name has moved."""

import importlib.metadata
import inspect
import json

import diffusers
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, FluxTransformer2DModel
from diffusers.hooks import FirstBlockCacheConfig
from torch import nn

from toolkit.models import diffusers_compat as compat
from toolkit.models.autoencoders.census import specimen
from toolkit.models.transformers.transformer_census import transformer


def test_classes_are_found_by_name():
    assert compat.class_named("AutoencoderKL") is AutoencoderKL
    assert compat.class_named("AutoencoderOfMine") is None
    assert compat.class_named(None) is None
    assert compat.class_named("utils") is None
    assert compat.is_model_class(AutoencoderKL)
    assert not compat.is_model_class(DDIMScheduler)
    assert compat.diffusers_version() == importlib.metadata.version("diffusers")


def test_a_saved_config_names_its_class(tmp_path):
    specimen("AutoencoderKL").build().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())[compat.CLASS_KEY] == "AutoencoderKL"


def test_packages_of_pipelines_are_found():
    assert compat.component_module("wan").__name__ == "diffusers.pipelines.wan"
    assert compat.component_module("json") is json
    with pytest.raises(ImportError):
        compat.component_module("no_such_library_of_mine")


def test_schedulers_are_recognised_without_their_base_class():
    assert compat.is_configured(DDIMScheduler())
    assert not compat.is_configured(nn.Linear(1, 1))
    assert not compat.is_configured(DDIMScheduler)


def test_bars_can_be_switched():
    bars = compat.diffusers_logging()
    assert callable(bars.is_progress_bar_enabled)
    assert callable(bars.disable_progress_bar)


@pytest.mark.parametrize("name", ["AutoencoderKLWan_2.1", "AutoencoderKLQwenImage", "AutoencoderKLQwenImage21"])
def test_causal_caches_are_where_they_were(name):
    vae = specimen(name).build()
    vae.clear_cache()
    decoder, encoder = compat.decoder_cache(vae), compat.encoder_cache(vae)
    assert decoder["feat_idx"] == encoder["feat_idx"] == [0]
    assert len(decoder["feat_cache"]) > 1
    assert len(encoder["feat_cache"]) > 1
    decoder["feat_idx"][0] = 5
    assert compat.decoder_cache(vae)["feat_idx"] == [0]


def test_a_causal_convolution_pads_before_in_time():
    layer = compat.wan_layers().WanCausalConv3d(1, 1, 3, padding=1)
    assert compat.causal_padding(layer) == (1, 1, 1, 1, 2, 0)


def test_hooks_are_found():
    model = transformer("Flux").build()
    block = model.transformer_blocks[0]
    assert compat.foreign_hooks(block) == []
    assert compat.accelerate_hook(block) is None
    model.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)
    assert compat.foreign_hooks(block.attn.to_q) == []
    model.enable_cache(FirstBlockCacheConfig(threshold=0.2))
    assert compat.foreign_hooks(block) == ["fbc_leader_block_hook"]


def test_accelerates_hook_is_found():
    accelerate = pytest.importorskip("accelerate")
    linear = nn.Linear(1, 1)
    accelerate.hooks.add_hook_to_module(linear, accelerate.hooks.AlignDevicesHook())
    assert isinstance(compat.accelerate_hook(linear), accelerate.hooks.AlignDevicesHook)


def test_weights_of_layers_that_are_not_built_are_passed_over(tmp_path, caplog):
    transformer("Flux").build().save_pretrained(tmp_path)

    class Short(FluxTransformer2DModel):
        def __init__(self, **config):
            super().__init__(**config)
            del self.single_transformer_blocks[2]

    Short.__init__.__signature__ = inspect.signature(FluxTransformer2DModel.__init__)
    compat.ignore_on_load(Short, FluxTransformer2DModel, patterns=[r"^single_transformer_blocks\.2\."])
    model, report = Short.from_pretrained(tmp_path, output_loading_info=True)
    assert len(model.single_transformer_blocks) == 2
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_the_origin_of_a_model_is_noted():
    vae = specimen("AutoencoderKL").build()
    compat.note_origin(vae, "somewhere")
    assert vae.config._name_or_path == "somewhere"


def test_the_lazy_names_are_exported():
    for name in ("ModelMixin", "DiffusionPipeline"):
        assert hasattr(diffusers, name)
