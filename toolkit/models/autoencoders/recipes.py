"""The table of what each class needs beyond its own call on a tile: one entry a class, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.errors import ModelError
from toolkit.models.autoencoders import frames, tile_calls
from toolkit.models.autoencoders.direction import DirectionName
from toolkit.models.autoencoders.recipe import BOTH, Recipe

_HUNYUAN_TIME: Mapping[DirectionName, str] = {"decode": "use_framewise_decoding", "encode": "use_framewise_encoding"}
# Its encode asks for the switch of decode.
_LTX_TIME: Mapping[DirectionName, str] = {"decode": "use_framewise_decoding", "encode": "use_framewise_decoding"}
_NO_TILING = "diffusers has no tiling for this class"

RECIPES: Mapping[str, Recipe] = {
    "AutoencoderKL": Recipe(),
    "AutoencoderKLFlux2": Recipe(),
    "AutoencoderKLKVAE": Recipe(),
    "AutoencoderDC": Recipe(moments=1, uncast=("encode",)),
    "AutoencoderKLHunyuanImage": Recipe(mirrors=("decode",), unlike="its tiled_encode raises for any image"),
    "AutoencoderKLHunyuanVideo15": Recipe(frames=frames.causal),
    "AutoencoderKLCogVideoX": Recipe(frames=frames.cogvideox),
    "AutoencoderKLMochi": Recipe(frames=frames.causal),
    "AutoencoderKLHunyuanVideo": Recipe(
        reason="it tiles in time too, by default, around its tiling in space",
        frames=frames.causal,
        framewise=_HUNYUAN_TIME,
    ),
    "AutoencoderKLLTXVideo": Recipe(
        reason="in time, its own tiled decode drops the last frame of a later tile instead of the first, which shifts "
        "the video by a frame: tiles along t drop the first, and equal it in encode only; 0.9.1 draws noise, each tile "
        "its own from the run's seed, so its decode equals nothing else",
        frames=frames.causal,
        framewise=_LTX_TIME,
    ),
    "AutoencoderKLLTX2Video": Recipe(
        reason="in time, as AutoencoderKLLTXVideo",
        frames=frames.causal,
        framewise=_LTX_TIME,
    ),
    "AutoencoderKLWan": Recipe(
        reason="its decode clamps, and (2.2) unpatchifies, what tiled_decode blends before it does either",
        decode=tile_calls.wan_decode,
        encode=tile_calls.wan_encode,
        finish=tile_calls.clamp,
        frames=frames.causal,
        patch="patch_size",
    ),
    "AutoencoderKLQwenImage21": Recipe(
        reason="as AutoencoderKLWan; one frame only",
        decode=tile_calls.wan_decode,
        encode=tile_calls.wan_encode,
        finish=tile_calls.clamp,
        frames=frames.causal,
        patch="patch_size",
    ),
    "AutoencoderKLQwenImage": Recipe(
        reason="its decode clamps, its tiled_decode never does: neither do tiles here",
        decode=tile_calls.qwen_decode,
        encode=tile_calls.wan_encode,
        frames=frames.causal,
    ),
    "AutoencoderVidTok": Recipe(
        reason="it tiles, whatever the size, in chunks of frames with caches, where its untiled call takes all at once",
        decode=tile_calls.vidtok_decode,
        encode=tile_calls.vidtok_encode,
        frames=frames.vidtok,
        always_tiles=True,
    ),
    "AutoencoderKLMagvit": Recipe(
        reason="its own threshold compares widths with the height of a tile: rectangular tiles may differ",
        frames=frames.causal,
        mirrors=("decode",),
        unlike="its tiled_encode keeps more of each tile than its stride, and cuts the end off",
    ),
    "ConsistencyDecoderVAE": Recipe(
        reason="it draws noise: each tile draws its own, from the run's seed, where a whole decode draws one canvas",
        uncast=("decode",),
        mirrors=("encode",),
        unlike="its decode ignores enable_tiling",
    ),
    "AutoencoderKLHunyuanImageRefiner": Recipe(
        frames=frames.unchanged,
        mirrors=(),
        unlike="its tiled_decode cuts pixels by latent sizes and returns a fraction of the sample; tiled_encode raises",
    ),
    "AutoencoderKLCosmos": Recipe(
        frames=frames.causal, moments=1, mirrors=(), unlike="it accepts enable_tiling and ignores it"
    ),
    "AutoencoderKLKVAEVideo": Recipe(
        frames=frames.kvae_video, uncast=("decode",), mirrors=(), unlike="it accepts enable_tiling and ignores it"
    ),
    "AsymmetricAutoencoderKL": Recipe(mirrors=(), unlike=_NO_TILING),
    "VQModel": Recipe(moments=1, mirrors=(), unlike=_NO_TILING),
    "AutoencoderKLTemporalDecoder": Recipe(
        reason="its batch is time: num_frames reaches every tile", mirrors=(), unlike=_NO_TILING
    ),
    "Kandinsky6SRVAE": Recipe(frames=frames.causal, uncast=BOTH, mirrors=(), unlike=_NO_TILING),
    "AutoencoderTiny": Recipe(
        moments=1,
        mirrors=(),
        unlike="it pastes tiles onto a float32 canvas",
        other_blend="the product of two ramps over a canvas of what came before, in float32 whatever the dtype",
    ),
    "AutoencoderKLAllegro": Recipe(
        reason="it has no untiled call: its modules are called as its tiles do, and it decodes to b t c h w",
        frames=frames.grouped,
        time_first=True,
        mirrors=(),
        unlike="its tiles are added up under weights of its own, and latents that its grid does not reach become zeros",
        other_blend="sums of tiles under weights of its own, on a grid that may leave latents out",
    ),
    "AutoencoderKLMiniMaxH3": Recipe(
        frames=frames.minimax_h3,
        mirrors=(),
        unlike="it has no tiled_decode; the tiling inside its decode, on by default, blends raw neighbours",
        other_blend="a ramp between raw neighbours, where the cascade takes blended ones",
    ),
}

REFUSED: Mapping[str, str] = {
    "AutoencoderRAE": "a vision transformer with absolute positions decodes to one fixed size: a tile would come out "
    "as large as the whole",
    "LTX2VideoDiffusionDecoderModel": "it denoises a video over many steps, with tiles of its own inside each step: "
    "tiles around it would be denoised apart",
}


def recipe_of(vae: Any) -> Recipe:
    """The entry for a model's class, or for the nearest class that it derives from.

    Raises:
        ModelError: where there is none, or where the class is known not to work in tiles, with the reason.

    Example:
        >>> class Mine(type("AutoencoderKLWan", (), {})):
        ...     pass
        >>> recipe_of(Mine()).patch
        'patch_size'
    """
    for cls in type(vae).__mro__:
        if cls.__name__ in REFUSED:
            raise ModelError(
                f"{cls.__name__} does not work in tiles: {REFUSED[cls.__name__]}. "
                "Use plan=None for the model's own call."
            )
        if cls.__name__ in RECIPES:
            return RECIPES[cls.__name__]
    raise ModelError(
        f"{type(vae).__name__} is not a class whose tiles are known to merge into its own call: "
        f"use one of {', '.join(RECIPES)}, give a Recipe of your own, or plan=None for the model's own call."
    )
