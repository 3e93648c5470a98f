"""How many frames come out of a video autoencoder for how many go in, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolkit.errors import ModelError
from toolkit.models.autoencoders.stated import stated
from toolkit.models.protocols import Autoencoder

Frames = Callable[[Any, str, int], int]
"""From a model, a direction (``"decode"`` or ``"encode"``) and the frames that go in to the frames that come out."""


def temporal_ratio(vae: Autoencoder) -> int:
    """Return the sample frames per latent frame (not counting the first frame of a causal model).

    Raises:
        ModelError: If the class states it in no known way.
    """
    ratio = stated(vae, "temporal_compression_ratio", "temporal_compress_times")
    if ratio is not None:
        return int(ratio)
    halvings = stated(vae, "temperal_downsample")  # diffusers' own spelling
    if halvings is not None:
        return int(2 ** sum(halvings))
    raise ModelError(
        f"{type(vae).__name__} has neither temporal_compression_ratio nor config.temporal_compress_times nor "
        "config.temperal_downsample: its frames cannot be counted. Use plan=None for the model's own call."
    )


def causal(vae: Autoencoder, direction: str, frames: int) -> int:
    """Count for a causal model: the first latent frame is one sample frame, each other one a whole group."""
    ratio = temporal_ratio(vae)
    return (frames - 1) * ratio + 1 if direction == "decode" else (frames - 1) // ratio + 1


def grouped(vae: Autoencoder, direction: str, frames: int) -> int:
    """Count for a model in which every latent frame is a whole group of sample frames."""
    return frames * temporal_ratio(vae) if direction == "decode" else frames // temporal_ratio(vae)


def unchanged(vae: Autoencoder, direction: str, frames: int) -> int:
    """Count for a model that does not compress time."""
    return frames


def cogvideox(vae: Autoencoder, direction: str, frames: int) -> int:
    """Count for CogVideoX: causal, but an even number of latent frames is decoded without a single first frame."""
    whole_groups = direction == "decode" and frames % 2 == 0
    return grouped(vae, direction, frames) if whole_groups else causal(vae, direction, frames)


def vidtok(vae: Any, direction: str, frames: int) -> int:
    """Count for VidTok: causal models decode as such, others drop latent frames beyond whole batches."""
    if direction == "decode" and vae.is_causal:
        return causal(vae, direction, frames)
    if direction == "decode":
        frames -= frames % vae.num_latent_frames_batch_size
    # Encode drops a remainder in either form.
    return grouped(vae, direction, frames)


def kvae_video(vae: Autoencoder, direction: str, frames: int) -> int:
    """Count for KVAE: causal, in chunks of 5 latent frames, then 4; a last chunk of a single one gives one frame."""
    ratio = temporal_ratio(vae)
    lost = ratio - 1 if direction == "decode" and frames > 5 and (frames - 5) % 4 == 1 else 0
    return causal(vae, direction, frames) - lost


def minimax_h3(vae: Any, direction: str, frames: int) -> int:
    """Count for MiniMaxH3: clips of ``clip_length`` frames, each causal; the last clip loses its last latent frames."""
    clip, tokens = vae.config.clip_length, vae.tokens_chunk_size
    if direction == "decode":
        clips, rest = divmod(frames, tokens)
        return clips * clip + (causal(vae, direction, rest) if rest else 0)
    # -(-a // b) rounds up: a last clip that is not full counts as one.
    return 1 if frames == 1 else -(-frames // clip) * tokens - vae.config.token_drop
