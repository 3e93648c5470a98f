"""Reading layers, and what they return, off the source of a class."""

from __future__ import annotations

import inspect

import diffusers
import pytest
import torch
from torch import Tensor, nn

import toolkit as tk
from toolkit.models.transformers.ghost import ghost, returned, stand_in
from toolkit.models.transformers.layers import layers_of, needs_of, owned
from toolkit.models.transformers.transformer_census import TRANSFORMERS, transformer

pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast")  # Mochi asks for one that processors have not

FIRST_AND_LAST = {
    "Wan": ("blocks.0", "blocks.3", 4),
    "WanVACE": ("blocks.0", "blocks.3", 4),  # vace_blocks are before
    "Flux": ("transformer_blocks.0", "single_transformer_blocks.2", 5),
    "AuraFlow": ("joint_transformer_blocks.0", "single_transformer_blocks.2", 5),
    "HiDreamImage": ("double_stream_blocks.0", "single_stream_blocks.1", 4),
    "Lumina2": ("layers.0", "layers.3", 4),  # refiners are before
    "ZImage": ("layers.0", "layers.3", 4),
    "Kandinsky5": ("visual_transformer_blocks.0", "visual_transformer_blocks.3", 4),
    "HunyuanVideo": ("transformer_blocks.0", "single_transformer_blocks.2", 5),
}


@pytest.mark.parametrize("name", FIRST_AND_LAST)
def test_layers_are_those_that_forward_loops_over(name: str) -> None:
    layers = layers_of(transformer(name).build())
    assert (layers[0], layers[-1], len(layers)) == FIRST_AND_LAST[name]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_layers_stand_in_the_order_that_forward_calls_them(name: str) -> None:
    specimen = transformer(name)
    model = specimen.build()
    called: list[str] = []
    for layer in layers_of(model):
        model.get_submodule(layer).register_forward_pre_hook(lambda *_, layer=layer: called.append(layer))
    with torch.no_grad():
        model(**specimen.inputs())
    assert tuple(called) == layers_of(model)


def test_lists_that_are_zipped_take_turns() -> None:
    assert layers_of(transformer("Latte").build())[:3] == (
        "transformer_blocks.0", "temporal_transformer_blocks.0", "transformer_blocks.1",
    )  # fmt: skip


def test_layers_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = diffusers.WanTransformer3DModel(num_layers=40)
    assert len(layers_of(model)) == 40
    assert owned(model, tk.Span(38, 40)) == ("blocks.38", "blocks.39")


def test_a_model_without_layers() -> None:
    with pytest.raises(
        tk.ModelError, match=r"Linear cannot be cut in stages: its forward loops over no nn\.ModuleList"
    ):
        layers_of(nn.Linear(1, 1))


def test_a_class_without_source() -> None:
    namespace: dict[str, object] = {}
    exec("from torch import nn\nclass Typed(nn.Module):\n    def forward(self, x): return x", namespace)
    with pytest.raises(tk.ModelError, match=r"Typed\.forward has no source to read"):
        layers_of(namespace["Typed"]())  # type: ignore[operator]


def test_what_an_epilogue_uses_of_a_layer() -> None:
    dit = transformer("DiT").build()
    assert needs_of(dit, tk.Span(1, 4)) == ("transformer_blocks.0.norm1.emb",)
    assert needs_of(dit, tk.Span(1, 3)) == needs_of(dit, tk.Span(0, 2)) == needs_of(dit, tk.Span(0, 4)) == ()


class Peeking(nn.Module):
    """Uses parts of layers before its loop and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(2, 2)) for _ in range(3))
        self.scale = 2

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks[1][0](x) if self.blocks[2].training else self.blocks[1].forward(x)
        for block in self.blocks:
            x = block(x)
        return self.blocks[0](x) @ self.blocks[1][0].weight


def test_only_modules_are_needed() -> None:
    assert needs_of(Peeking(), tk.Span(0, 1)) == ("blocks.1.0", "blocks.1")
    assert needs_of(Peeking(), tk.Span(1, 2)) == ()
    assert needs_of(Peeking(), tk.Span(1, 3)) == ("blocks.0",)
    assert set(needs_of(Peeking(), tk.Span(2, 3))) == {"blocks.0", "blocks.1", "blocks.1.0"}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_ghost_returns_what_the_layer_would_in_structure_and_shape(name: str) -> None:
    specimen = transformer(name)
    model = specimen.build()
    for layer in layers_of(model)[:-1]:  # none comes after the last: it never has one
        model.get_submodule(layer).register_forward_hook(check_ghost, with_kwargs=True)
    with torch.no_grad():
        model(**specimen.inputs())


def check_ghost(layer: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object) -> None:
    hollow = ghost(layer)(*args, **kwargs)
    assert type(hollow) is type(output)
    for a, b in zip(
        hollow if isinstance(hollow, tuple) else [hollow],
        output if isinstance(output, tuple) else [output],
        strict=True,
    ):
        assert (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
        assert a.isnan().all()
        assert a.untyped_storage().nbytes() == a.itemsize


class Block(nn.Module):
    """Returns one of its arguments in a way that is not known."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.size = nn.Linear(2, 2), 2

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        def inner(hidden: Tensor) -> Tensor:
            return hidden

        return hidden + self.linear(inner(hidden))


def test_a_block_whose_return_names_no_parameter() -> None:
    with pytest.raises(tk.ModelError, match=r"Block cannot stand at a stage.s border.*transformer_table"):
        ghost(Block())


def test_what_blocks_return() -> None:
    blocks = {name: transformer(name).build().get_submodule(layer) for name, (layer, _, _) in FIRST_AND_LAST.items()}
    names = {name: returned(block)[0] for name, block in blocks.items()}
    assert names["Wan"] == "hidden_states"
    assert names["Flux"] == ("encoder_hidden_states", "hidden_states")
    assert names["HunyuanVideo"] == ("hidden_states", "encoder_hidden_states")
    assert names["HiDreamImage"] == ("hidden_states", "encoder_hidden_states")  # a block within the block


def test_a_stand_in_shares_all_but_the_call() -> None:
    block = Block()
    block.register_forward_hook(lambda *_: pytest.fail("a hook of the original ran"))
    block.register_forward_pre_hook(lambda *_: pytest.fail("a hook of the original ran"))
    twin = stand_in(block, lambda hidden: 3 * hidden)
    assert twin(torch.ones(2)).tolist() == [3, 3]
    assert isinstance(twin, Block)
    assert twin.size == 2
    assert twin.linear is block.linear
    block.linear = nn.Linear(2, 5)
    assert twin.linear is block.linear
    assert "forward" not in vars(block)
    assert len(block._forward_hooks) == len(block._forward_pre_hooks) == 1
    assert inspect.signature(block.forward).parameters.keys() == {"hidden", "mask"}
