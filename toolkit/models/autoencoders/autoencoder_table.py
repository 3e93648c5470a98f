"""The table of autoencoder classes, and the one look-up that everything else goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.errors import ModelError
from toolkit.models.autoencoders.autoencoder_entry import AutoencoderEntry
from toolkit.models.autoencoders.image_entries import IMAGE_ENTRIES
from toolkit.models.autoencoders.recipe import Recipe
from toolkit.models.autoencoders.video_entries import VIDEO_ENTRIES
from toolkit.models.class_lookup import entry_by_class

AUTOENCODER_ENTRIES: Mapping[str, AutoencoderEntry] = {**IMAGE_ENTRIES, **VIDEO_ENTRIES}
"""What is known of each class of diffusers, by its name. A subclass shares the entry of its nearest parent."""


def entry_of(cls: type[Any]) -> AutoencoderEntry | None:
    """Find what is known of an autoencoder class, or of the nearest class that it derives from.

    Example:
        >>> class Mine(type("AutoencoderKLWan", (), {})):
        ...     pass
        >>> entry_of(Mine).borders
        Borders(module='up_blocks.0')
    """
    return entry_by_class(AUTOENCODER_ENTRIES, cls)


def recipe_of(vae: object) -> Recipe:
    """Find how tiles of a model are computed.

    Raises:
        ModelError: If nothing is known of its class, or that it does not work in tiles.

    Example:
        >>> class Mine(type("AutoencoderKLWan", (), {})):
        ...     pass
        >>> recipe_of(Mine()).patch
        'patch_size'
    """
    name, entry = type(vae).__name__, entry_of(type(vae))
    if entry is None:
        served = [cls for cls, known in AUTOENCODER_ENTRIES.items() if known.tiles is not None]
        raise ModelError(
            f"{name} is not a class whose tiles are known to merge into its own call: use one of {', '.join(served)}, "
            "give a Recipe of your own, or plan=None for the model's own call."
        )
    if entry.tiles is None:
        raise ModelError(f"{name} does not work in tiles: {entry.no_tiles}. Use plan=None for the model's own call.")
    return entry.tiles
