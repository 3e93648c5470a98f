"""The entries of video autoencoders, by class name."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.models.autoencoders import frames, input_dtypes, own_calls, tile_calls
from toolkit.models.autoencoders.autoencoder_entry import AutoencoderEntry, Borders
from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.image_entries import NO_TILING
from toolkit.models.autoencoders.recipe import BOTH, Recipe
from toolkit.models.autoencoders.shard_preparation import masks_by_frames

_HUNYUAN_TIME: Mapping[DirectionName, str] = {"decode": "use_framewise_decoding", "encode": "use_framewise_encoding"}
# Both directions have the same switch: its encode looks at the one for decode.
_LTX_TIME: Mapping[DirectionName, str] = {"decode": "use_framewise_decoding", "encode": "use_framewise_decoding"}
_IGNORED = "it accepts enable_tiling and ignores it"

VIDEO_ENTRIES: Mapping[str, AutoencoderEntry] = {
    "AutoencoderKLWan": AutoencoderEntry(
        reason="its decode clamps, and (2.2) unpatchifies; its tiled_decode blends tiles before it does either",
        tiles=Recipe(
            decode=tile_calls.wan_decode,
            encode=tile_calls.wan_encode,
            finish=tile_calls.clamp,
            frames=frames.causal,
            patch="patch_size",
        ),
        borders=Borders("up_blocks.0"),
    ),
    "AutoencoderKLHunyuanVideo": AutoencoderEntry(
        reason="it tiles in time too, by default, around its tiling in space",
        tiles=Recipe(frames=frames.causal, framewise=_HUNYUAN_TIME),
    ),
    "AutoencoderKLHunyuanVideo15": AutoencoderEntry(
        reason="its attention fills a mask of all pairs of tokens row by row in Python, and only frames matter in it",
        tiles=Recipe(frames=frames.causal),
        prepare=masks_by_frames,
        # Norms here are of single cells; only the middle block attends over the whole map.
        borders=Borders("up_blocks.0"),
    ),
    "AutoencoderKLLTXVideo": AutoencoderEntry(
        reason="in time, its own tiled decode drops the last frame of a later tile instead of the first, which shifts "
        "the video by a frame: tiles along t drop the first, and equal it in encode only. Version 0.9.1 draws noise, "
        "each tile its own from the run's seed, so its decode equals nothing else",
        tiles=Recipe(frames=frames.causal, framewise=_LTX_TIME),
    ),
    "AutoencoderKLLTX2Video": AutoencoderEntry(
        reason="it tiles in time as AutoencoderKLLTXVideo does",
        tiles=Recipe(frames=frames.causal, framewise=_LTX_TIME),
    ),
    "LTX2VideoDiffusionDecoderModel": AutoencoderEntry(
        reason="it is a diffusion model: it denoises a video over many steps",
        no_tiles="it denoises a video over many steps, with tiles of its own inside each step: tiles around it would "
        "be denoised apart",
        no_shards={Direction.DECODE: "its neighbourhood attention shifts its windows at the map's borders"},
    ),
    # Both tile as AutoencoderKL does; only their frames count differently.
    "AutoencoderKLCogVideoX": AutoencoderEntry(tiles=Recipe(frames=frames.cogvideox)),
    "AutoencoderKLMochi": AutoencoderEntry(tiles=Recipe(frames=frames.causal)),
    "AutoencoderVidTok": AutoencoderEntry(
        reason="it tiles, whatever the size, in chunks of frames with caches; its untiled call takes all frames at "
        "once",
        tiles=Recipe(
            decode=tile_calls.vidtok_decode,
            encode=tile_calls.vidtok_encode,
            frames=frames.vidtok,
            always_tiles=True,
        ),
    ),
    "AutoencoderKLMagvit": AutoencoderEntry(
        reason="its own threshold compares widths with the height of a tile: rectangular tiles may differ",
        tiles=Recipe(
            frames=frames.causal,
            mirrors=("decode",),
            unlike="its tiled_encode keeps more of each tile than its stride, and cuts the end off",
        ),
    ),
    "AutoencoderKLCosmos": AutoencoderEntry(
        tiles=Recipe(frames=frames.causal, moments=1, mirrors=(), unlike=_IGNORED),
    ),
    "AutoencoderKLKVAEVideo": AutoencoderEntry(
        tiles=Recipe(frames=frames.kvae_video, uncast=("decode",), mirrors=(), unlike=_IGNORED),
    ),
    "AutoencoderKLTemporalDecoder": AutoencoderEntry(
        reason="its batch is time: num_frames reaches every tile",
        tiles=Recipe(mirrors=(), unlike=NO_TILING),
    ),
    "Kandinsky6SRVAE": AutoencoderEntry(
        tiles=Recipe(frames=frames.causal, uncast=BOTH, mirrors=(), unlike=NO_TILING),
    ),
    "AutoencoderKLAllegro": AutoencoderEntry(
        reason="it has no untiled call: its modules are called as its tiles call them, and it decodes to b t c h w",
        tiles=Recipe(
            frames=frames.grouped,
            time_first=True,
            mirrors=(),
            unlike="its tiles are added up under weights of its own, and latents that its grid does not reach become "
            "zeros",
            other_blend="sums of tiles under weights of its own, on a grid that may leave latents out",
        ),
        # What a tile would be, for the whole.
        own_calls={Direction.DECODE: own_calls.allegro_decode, Direction.ENCODE: own_calls.allegro_encode},
    ),
    "AutoencoderKLMiniMaxH3": AutoencoderEntry(
        reason="its decoder is a vision transformer",
        tiles=Recipe(
            frames=frames.minimax_h3,
            mirrors=(),
            unlike="it has no tiled_decode; the tiling inside its decode, on by default, blends raw neighbours",
            other_blend="a ramp between raw neighbours; the cascade takes blended ones",
        ),
        no_shards={
            Direction.DECODE: "its decoder is a vision transformer, whose positions are those of the whole",
        },
        casts=dict.fromkeys(BOTH, input_dtypes.any_real),
    ),
}
