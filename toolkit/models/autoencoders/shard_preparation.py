"""What is set on a borrowed model before a call on shards, where its code would decide by the size of the map it sees.

Each function is named by an entry of the table of classes, which says why it is needed. The loan of the model undoes
what it sets.
"""

from __future__ import annotations

from typing import Any

from toolkit.models.protocols import Autoencoder
from toolkit.numerics.frame_masks import frame_causal_mask


class _NoThreshold(int):
    """A head size that every map exceeds: it compares as smaller than anything, and computes as the int that it is."""

    def __lt__(self, other: object) -> bool:
        return True


def always_linear(vae: Autoencoder) -> None:
    """Make the attention of AutoencoderDC take its linear form on maps of any size."""
    module: Any
    for module in vae.modules():
        if hasattr(module, "to_qkv_multiscale"):
            # The module compares the head size with the number of cells to choose a form, and also reshapes by it.
            module.attention_head_dim = _NoThreshold(module.attention_head_dim)


def masks_by_frames(vae: Autoencoder) -> None:
    """Replace the masks of HunyuanVideo 1.5's attention by ones that are a comparison of frame numbers."""
    module: Any
    for module in vae.modules():
        if hasattr(module, "prepare_causal_attention_mask"):
            module.prepare_causal_attention_mask = frame_causal_mask
