"""Autoencoders from where people keep them: a folder, a pipeline's folder, one file, or the demo."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from toolkit.errors import ModelError
from toolkit.models import demo
from toolkit.models.diffusers_compat import CLASS_KEY, class_named, diffusers_version, is_model_class

DEMOS = {"demo-image": "image_vae", "demo-video": "video_vae"}
"""The demo models by the names that the command line takes, and the functions of the demo that load them."""


def load_vae(
    source: str | PathLike[str],
    dtype: torch.dtype | None = None,
    *,
    name: str | None = None,
    config: str | PathLike[str] | None = None,
) -> Any:
    """Load an autoencoder by its own class's ``from_pretrained`` or ``from_single_file``, without going online.

    Args:
        source: A folder as ``save_pretrained`` writes it; a pipeline's folder, whose ``vae`` is taken; one file in a
            layout that diffusers converts; ``"demo-image"`` or ``"demo-video"``.
        dtype: Dtype of the weights. None: that of the files (single precision for the demo and for single files).
        name: The class of a single file; a folder's ``config.json`` names it.
        config: The folder with the ``config.json`` that belongs to a single file.

    Returns:
        The model on the CPU, in evaluation mode.

    Raises:
        ModelError: If nothing is there, the class is unknown, or a single file comes without class and config.

    Example:
        >>> type(load_vae("demo-image")).__name__
        'AutoencoderKL'
    """
    if str(source) in DEMOS:
        vae: Any = getattr(demo, DEMOS[str(source)])()
        return vae if dtype in (None, torch.float32) else vae.to(dtype)
    path = Path(source)
    if path.is_file():
        return _single_file(path, dtype, name=name, config=config)
    # A pipeline's folder holds its parts in folders of their own.
    if (path / "model_index.json").is_file():
        path = path / "vae"
    if not (path / "config.json").is_file():
        raise ModelError(
            f"{source}: holds no config.json. Give a folder that save_pretrained wrote, a pipeline's folder, a file "
            f"with its class and config, or one of {', '.join(DEMOS)}."
        )
    cls = _class(name or json.loads((path / "config.json").read_text()).get(CLASS_KEY, "no class"))
    # "auto" keeps the dtype of the files; None would widen them to float32.
    given = {"torch_dtype": dtype or "auto"}
    return _for_use(cls.from_pretrained(path, local_files_only=True, **given))


def _single_file(path: Path, dtype: torch.dtype | None, *, name: str | None, config: str | PathLike[str] | None) -> Any:
    if name is None or config is None:
        raise ModelError(
            f"{path}: one file names neither its class nor its configuration. Give both, as name='AutoencoderKL' and "
            "config= the folder with its config.json (on the command line --class and --config)."
        )
    cls = _class(name)
    if not hasattr(cls, "from_single_file"):
        raise ModelError(f"{name} has no from_single_file: save it with save_pretrained and give the folder.")
    return _for_use(cls.from_single_file(path, config=str(config), torch_dtype=dtype, local_files_only=True))


def _class(name: str) -> Any:
    cls = class_named(name)
    if cls is None or not is_model_class(cls) or not hasattr(cls, "decode"):
        raise ModelError(
            f"{name!r}: diffusers {diffusers_version()} has no autoencoder of this name. Install a diffusers that has "
            "it, or give the name of its class."
        )
    return cls


def _for_use(vae: Any) -> Any:
    return vae.eval().requires_grad_(False)
