"""What the table says about sharing sequences and weights, for classes whose own statement is missing or not enough."""

from __future__ import annotations

import math
from typing import Any

from toolkit.models.protocols import Transformer
from toolkit.models.transformers.transformer_entry import Arguments

_ATTENTION = {"to_q": "colwise", "to_k": "colwise", "to_v": "colwise", "to_out.0": "rowwise"}
_IMAGE = {"add_k_proj": "colwise", "add_v_proj": "colwise"}


def wan_tokens(wan: Transformer, call: Arguments) -> dict[str, int]:
    """Return the number of Wan's tokens: one per patch of the latent ``b c t h w``."""
    sizes = zip(call["hidden_states"].shape[2:], wan.config.patch_size, strict=True)
    return {"hidden_states": math.prod(size // patch for size, patch in sizes)}


def both_sequences(_: Transformer, call: Arguments) -> dict[str, int]:
    """Return the lengths of picture and text, each given as ``b n c``."""
    return {name: call[name].shape[1] for name in ("hidden_states", "encoder_hidden_states")}


def wan_weights(wan: Transformer) -> dict[str, Any]:
    """Return how Wan's linear maps are cut: queries, keys and values by heads, feed-forwards by hidden channels.

    The first of two maps in a row is cut by rows, so each rank computes its own channels in between; the second is cut
    by columns, and the ranks' results are added up. Only one message per pair is needed.
    """
    plan = {f"blocks.*.{attention}.{name}": how for attention in ("attn1", "attn2") for name, how in _ATTENTION.items()}
    if wan.config.added_kv_proj_dim is not None:  # image-to-video
        plan |= {f"blocks.*.attn2.{name}": how for name, how in _IMAGE.items()}
    return plan | {"blocks.*.ffn.net.0.proj": "colwise", "blocks.*.ffn.net.2": "rowwise"}
