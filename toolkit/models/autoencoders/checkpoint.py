"""Autoencoders from where people keep them: a folder, a pipeline's folder, one file, or the demo."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import ModelMixin

from toolkit.errors import ModelError
from toolkit.models import demo

DEMOS = {"demo-image": demo.image_vae, "demo-video": demo.video_vae}


def load_vae(
    source: str | PathLike[str],
    dtype: torch.dtype | None = None,
    *,
    name: str | None = None,
    config: str | PathLike[str] | None = None,
) -> Any:
    """Load an autoencoder by its own class's ``from_pretrained`` or ``from_single_file``. Nothing is looked for online.

    Args:
        source: a folder as ``save_pretrained`` writes it; a pipeline's folder, of which its ``vae`` is taken; one file
            in a layout that diffusers converts; ``"demo-image"`` or ``"demo-video"``.
        dtype: of the weights; None: as they are (of the demo and of single files: single precision).
        name: the class, for one file; of a folder its ``config.json`` says it.
        config: the folder with the ``config.json`` that belongs to one file.

    Returns:
        The model on the CPU, in evaluation mode.

    Raises:
        ModelError: where nothing is there, the class is unknown, or a single file comes without class and config.

    Example:
        >>> type(load_vae("demo-image")).__name__
        'AutoencoderKL'
    """
    if str(source) in DEMOS:
        vae = DEMOS[str(source)]()
        return vae if dtype in (None, torch.float32) else vae.to(dtype)
    path = Path(source)
    if path.is_file():
        return _single_file(path, dtype, name, config)
    if (path / "model_index.json").is_file():
        path = path / "vae"
    if not (path / "config.json").is_file():
        raise ModelError(
            f"{source}: holds no config.json. Give a folder that save_pretrained wrote, a pipeline's folder, a file "
            f"with its class and config, or one of {', '.join(DEMOS)}."
        )
    cls = _class(name or json.loads((path / "config.json").read_text()).get("_class_name", "no class"))
    given = {"torch_dtype": dtype or "auto"}
    return _quiet(cls.from_pretrained(path, local_files_only=True, **given))


def _single_file(path: Path, dtype: torch.dtype | None, name: str | None, config: str | PathLike[str] | None) -> Any:
    if name is None or config is None:
        raise ModelError(
            f"{path}: one file says neither its class nor its configuration. Give both, as name='AutoencoderKL' and "
            "config= the folder with its config.json (on the command line --class and --config)."
        )
    cls = _class(name)
    if not hasattr(cls, "from_single_file"):
        raise ModelError(f"{name} has no from_single_file: save it with save_pretrained and give the folder.")
    return _quiet(cls.from_single_file(path, config=str(config), torch_dtype=dtype, local_files_only=True))


def _class(name: str) -> type[Any]:
    cls = getattr(diffusers, name, None)
    if not (isinstance(cls, type) and issubclass(cls, ModelMixin) and hasattr(cls, "decode")):
        raise ModelError(f"{name!r}: diffusers {diffusers.__version__} has no autoencoder of this name.")
    return cls


def _quiet(vae: Any) -> Any:
    return vae.eval().requires_grad_(False)
