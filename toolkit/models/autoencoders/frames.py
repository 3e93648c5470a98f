"""How many frames come out of a video autoencoder for how many that go in, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolkit.errors import ModelError
from toolkit.models.autoencoders.stated import stated

Frames = Callable[[Any, str, int], int]
"""Model, direction (``"decode"`` or ``"encode"``) and frames that go in, to frames that come out."""


def temporal_ratio(vae: Any) -> int:
    """Sample frames per latent frame, the first one of a causal model apart.

    Raises:
        ModelError: where the class states it in no way known.
    """
    ratio = stated(vae, "temporal_compression_ratio", "temporal_compress_times")
    if ratio is not None:
        return int(ratio)
    halvings = stated(vae, "temperal_downsample")  # diffusers' own spelling
    if halvings is not None:
        return int(2 ** sum(halvings))
    raise ModelError(
        f"{type(vae).__name__} has neither temporal_compression_ratio nor config.temporal_compress_times nor "
        "config.temperal_downsample: its frames cannot be counted."
    )


def causal(vae: Any, direction: str, frames: int) -> int:
    """The first latent frame is one sample frame, each other one a whole group."""
    ratio = temporal_ratio(vae)
    return (frames - 1) * ratio + 1 if direction == "decode" else (frames - 1) // ratio + 1


def grouped(vae: Any, direction: str, frames: int) -> int:
    """Every latent frame is a whole group of sample frames."""
    return frames * temporal_ratio(vae) if direction == "decode" else frames // temporal_ratio(vae)


def unchanged(vae: Any, direction: str, frames: int) -> int:
    """Time is not compressed."""
    return frames


def cogvideox(vae: Any, direction: str, frames: int) -> int:
    """Causal, but an even number of latent frames is decoded without a first frame of its own."""
    whole_groups = direction == "decode" and frames % 2 == 0
    return grouped(vae, direction, frames) if whole_groups else causal(vae, direction, frames)


def vidtok(vae: Any, direction: str, frames: int) -> int:
    """Causal models decode as such; the others drop the latent frames beyond whole batches. Encode drops a rest."""
    if direction == "decode" and vae.is_causal:
        return causal(vae, direction, frames)
    if direction == "decode":
        frames -= frames % vae.num_latent_frames_batch_size
    return grouped(vae, direction, frames)


def kvae_video(vae: Any, direction: str, frames: int) -> int:
    """Causal, in chunks of 5 latent frames, then 4; a last chunk of a single one decodes to one frame."""
    ratio = temporal_ratio(vae)
    lost = ratio - 1 if direction == "decode" and frames > 5 and (frames - 5) % 4 == 1 else 0
    return causal(vae, direction, frames) - lost


def minimax_h3(vae: Any, direction: str, frames: int) -> int:
    """Clips of ``clip_length`` frames, each causal; the last latent frames of the last clip are dropped."""
    clip, tokens = vae.config.clip_length, vae.tokens_chunk_size
    if direction == "decode":
        clips, rest = divmod(frames, tokens)
        return clips * clip + (causal(vae, direction, rest) if rest else 0)
    return 1 if frames == 1 else -(-frames // clip) * tokens - vae.config.token_drop
