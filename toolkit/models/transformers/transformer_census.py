"""The census of transformers: classes of diffusers in small, for parity tables, checks of a class and tests."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.errors import ModelError
from toolkit.models.transformers.image_transformers import IMAGE_TRANSFORMERS
from toolkit.models.transformers.transformer_specimen import TransformerSpecimen
from toolkit.models.transformers.video_transformers import VIDEO_TRANSFORMERS

TRANSFORMERS: Mapping[str, TransformerSpecimen] = {
    specimen.name: specimen for specimen in (*IMAGE_TRANSFORMERS, *VIDEO_TRANSFORMERS)
}


def transformer(name: str) -> TransformerSpecimen:
    """Return the specimen of that name.

    Raises:
        ModelError: If the census has none.

    Example:
        >>> transformer("Wan_2.2_5B").cls
        'WanTransformer3DModel'
    """
    if name not in TRANSFORMERS:
        raise ModelError(f"{name!r} is not in the census: use one of {', '.join(TRANSFORMERS)}.")
    return TRANSFORMERS[name]
