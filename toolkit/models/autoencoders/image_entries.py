"""The entries of image autoencoders, by class name."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.models.autoencoders import frames, input_dtypes, tile_calls
from toolkit.models.autoencoders.autoencoder_entry import AutoencoderEntry, Borders
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.recipe import Recipe
from toolkit.models.autoencoders.shard_preparation import always_linear

NO_TILING = "diffusers has no tiling for this class"

IMAGE_ENTRIES: Mapping[str, AutoencoderEntry] = {
    # The defaults of Recipe describe this class and its descendants.
    "AutoencoderKL": AutoencoderEntry(tiles=Recipe()),
    "AutoencoderKLFlux2": AutoencoderEntry(tiles=Recipe()),
    "AutoencoderKLKVAE": AutoencoderEntry(tiles=Recipe()),
    "AutoencoderDC": AutoencoderEntry(
        reason="on few cells its attention takes the quadratic form, and would decide so by the shard's cells; the "
        "linear form is the same sum in another order",
        # No posterior: encode returns the latent. It ends by adding a shortcut, which autocast leaves alone.
        tiles=Recipe(moments=1, uncast=("encode",)),
        prepare=always_linear,
        # For its form without attention. A linear attention sees the whole map, and is refused when it runs.
        borders=Borders(),
    ),
    "AutoencoderKLHunyuanImage": AutoencoderEntry(
        tiles=Recipe(mirrors=("decode",), unlike="its tiled_encode raises for any image")
    ),
    "AutoencoderKLQwenImage21": AutoencoderEntry(
        reason="its decode clamps and unpatchifies; its tiled_decode blends tiles before it does either. It codes one "
        "frame only",
        tiles=Recipe(
            decode=tile_calls.wan_decode,
            encode=tile_calls.wan_encode,
            finish=tile_calls.clamp,
            frames=frames.causal,
            patch="patch_size",
        ),
        # The middle block attends over the whole map; its levels after that see their neighbours only.
        borders=Borders("up_blocks.0"),
    ),
    "AutoencoderKLQwenImage": AutoencoderEntry(
        reason="its decode clamps and its tiled_decode never does: neither do tiles here",
        tiles=Recipe(decode=tile_calls.qwen_decode, encode=tile_calls.wan_encode, frames=frames.causal),
        borders=Borders("up_blocks.0"),
    ),
    "AutoencoderKLHunyuanImageRefiner": AutoencoderEntry(
        tiles=Recipe(
            frames=frames.unchanged,
            mirrors=(),
            unlike="its tiled_decode cuts pixels by latent sizes and returns a fraction of the sample; its "
            "tiled_encode raises",
        ),
        borders=Borders("up_blocks.0"),
    ),
    "AutoencoderTiny": AutoencoderEntry(
        tiles=Recipe(
            moments=1,
            mirrors=(),
            unlike="it pastes tiles onto a float32 canvas",
            other_blend="the product of two ramps over a canvas of what came before, in float32 whatever the dtype",
        ),
        borders=Borders(),
        # Its encode adds before it divides, and bytes wrap around.
        casts={Direction.DECODE: input_dtypes.divided},
    ),
    "AsymmetricAutoencoderKL": AutoencoderEntry(tiles=Recipe(mirrors=(), unlike=NO_TILING)),
    "VQModel": AutoencoderEntry(tiles=Recipe(moments=1, mirrors=(), unlike=NO_TILING)),
    "ConsistencyDecoderVAE": AutoencoderEntry(
        reason="it draws noise: each tile draws its own from the run's seed, and a whole decode draws one canvas",
        tiles=Recipe(uncast=("decode",), mirrors=("encode",), unlike="its decode ignores enable_tiling"),
        casts={Direction.DECODE: input_dtypes.promoted},
    ),
    "AutoencoderRAE": AutoencoderEntry(
        reason="it is made of vision transformers with absolute positions",
        no_tiles="a vision transformer with absolute positions decodes to one fixed size: a tile would come out as "
        "large as the whole",
        no_shards={
            Direction.DECODE: "its decoder is a vision transformer with a fixed number of positions",
            Direction.ENCODE: "its encoder resizes the image to a fixed number of positions",
        },
    ),
}
