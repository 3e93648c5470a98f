"""Pipelines of the Hugging Face Hub, as folders."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from toolkit.errors import ToolkitError


def download(
    name: str, *, revision: str | None = None, variant: str | None = None, cache: str | Path | None = None
) -> Path:
    """The folder of a pipeline of the Hub, which is downloaded unless it is in the cache.

    Only what the pipeline loads is downloaded, as ``from_pretrained`` does it, and only weights in safetensors files.
    Give the folder to :meth:`toolkit.Cluster.generate`: then each rank reads its own layers, and nothing is loaded
    here. A token is taken from where ``hf auth login`` or ``HF_TOKEN`` has left it.

    Args:
        name: Its name, such as ``"Wan-AI/Wan2.1-T2V-1.3B-Diffusers"``.
        revision: A branch, tag or commit; a commit makes sure that you get the same files again.
        variant: Which weights, such as ``"fp16"``, where the pipeline has several.
        cache: Folder of the cache; None: that of all libraries of the Hub.

    Raises:
        ToolkitError: If the Hub cannot be reached, has no such pipeline, or asks for a token.

    Example:
        >>> folder = download("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", revision="main")  # doctest: +SKIP
        >>> cluster.generate(folder, plan, prompt="a cat")  # doctest: +SKIP
    """
    try:
        found = import_module("diffusers").DiffusionPipeline.download(
            name, revision=revision, variant=variant, cache_dir=cache, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:  # of the Hub's library, of what it reaches the network by, or of the disk
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ToolkitError(
            f"{name!r} could not be downloaded ({first}): check the name and the network; for a model that needs a "
            "token, run `hf auth login`."
        ) from error
    return Path(found)
