"""Small trained models, and pictures and videos to try them on: everything works offline and on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.lazy import lazy

if TYPE_CHECKING:
    from toolkit.models.demo.clips import PROMPTS
    from toolkit.models.demo.demo_models import image_vae, latents, video_vae
    from toolkit.models.demo.demo_pipeline import call, pipeline
    from toolkit.models.demo.photographs import image
    from toolkit.models.demo.videos import video

__all__ = ["PROMPTS", "call", "image", "image_vae", "latents", "pipeline", "video", "video_vae"]

# Who only decodes must not wait for what the pipeline needs: transformers alone takes seconds.
__getattr__, __dir__ = lazy(
    "toolkit.models.demo",
    {
        "PROMPTS": "toolkit.models.demo.clips",
        "call": "toolkit.models.demo.demo_pipeline",
        "image": "toolkit.models.demo.photographs",
        "image_vae": "toolkit.models.demo.demo_models",
        "latents": "toolkit.models.demo.demo_models",
        "pipeline": "toolkit.models.demo.demo_pipeline",
        "video": "toolkit.models.demo.videos",
        "video_vae": "toolkit.models.demo.demo_models",
    },
)
