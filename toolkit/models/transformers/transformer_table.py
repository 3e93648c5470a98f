"""The table of transformer classes, and the one look-up that everything else goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.models.class_lookup import entry_by_class
from toolkit.models.diffusers_parallel_compat import stated_tensor_plan
from toolkit.models.transformers.parallel_plans import both_sequences, wan_tokens, wan_weights
from toolkit.models.transformers.transformer_entry import PartEntry, Sequences, TransformerEntry

_TEXT_REFINED = "they refine the text, which every layer reads"
_STATED = (
    "diffusers states how its sequence (_cp_plan) and its weights (_tp_plan) are cut, and tests hold both to the whole "
    "transformer's result; its norms are of single heads"
)

TRANSFORMER_ENTRIES: Mapping[str, TransformerEntry] = {
    "WanTransformer3DModel": TransformerEntry(
        reason="diffusers states how its sequence is cut, and tests hold that to the whole transformer's result. It "
        "states nothing for weights: queries and keys are normed over all heads, so ranks must add up their squares",
        sequence=Sequences(wan_tokens),
        weights=wan_weights,
        parts={
            "WanAttention": PartEntry(
                reason="its queries and keys are normed over all heads at once, not head by head",
                norms_across_heads=("norm_q", "norm_k", "norm_added_k"),
            )
        },
    ),
    "WanVACETransformer3DModel": TransformerEntry(
        prologue={"vace_blocks": "they make the hints of all layers before the first of these"},
        latents_everywhere="the hints that it adds to layers are made of the embedded latents, on every stage",
    ),
    "Kandinsky5Transformer3DModel": TransformerEntry(prologue={"text_transformer_blocks": _TEXT_REFINED}),
    "Kandinsky6Transformer3DModel": TransformerEntry(
        prologue={"video_text_transformer_blocks": _TEXT_REFINED, "audio_text_transformer_blocks": _TEXT_REFINED},
    ),
    "Kandinsky6SRTransformer3DModel": TransformerEntry(
        parts={
            "Kandinsky6SRTransformerBlock": PartEntry(
                reason="its return statement holds the last gated sum itself", returns="hidden_states"
            )
        },
    ),
    "ErnieImageTransformer2DModel": TransformerEntry(
        parts={
            "ErnieImageSharedAdaLNBlock": PartEntry(
                reason="its return statement holds the last residual sum itself", returns="x"
            )
        },
    ),
    "FluxTransformer2DModel": TransformerEntry(
        reason=_STATED,
        sequence=Sequences(both_sequences, positions=2),
        weights=stated_tensor_plan,
    ),
    "Flux2Transformer2DModel": TransformerEntry(
        reason=_STATED,
        # With a cache of keys and values, its attention takes a path of its own, which does not share.
        sequence=Sequences(both_sequences, refused="kv_cache_mode", positions=3),
        weights=stated_tensor_plan,
    ),
    "QwenImageTransformer2DModel": TransformerEntry(
        reason=_STATED,
        sequence=Sequences(both_sequences, mask="encoder_hidden_states_mask"),
        weights=stated_tensor_plan,
    ),
    "HunyuanDiT2DModel": TransformerEntry(
        refused="each layer of its second half reads what a layer of its first half returned, a skip over layers that "
        "is not handed from stage to stage. Run the transformer whole."
    ),
}
"""What is known of each class of diffusers, by its name. A subclass shares the entry of its nearest parent."""

# Flat, because classes of one name serve several transformers (WanAttention, for instance).
_PARTS: Mapping[str, PartEntry] = {
    name: part for entry in TRANSFORMER_ENTRIES.values() for name, part in entry.parts.items()
}


def entry_of(cls: type[Any]) -> TransformerEntry | None:
    """Find what is known of a transformer class, or of the nearest class that it derives from.

    Example:
        >>> class Mine(type("WanVACETransformer3DModel", (), {})):
        ...     pass
        >>> list(entry_of(Mine).prologue)
        ['vace_blocks']
    """
    return entry_by_class(TRANSFORMER_ENTRIES, cls)


def part_of(cls: type[Any]) -> PartEntry | None:
    """Find what is known of the class of a block or attention, or of the nearest class that it derives from.

    Blocks are looked up without their transformer: one class of blocks serves several transformers.
    """
    return entry_by_class(_PARTS, cls)
