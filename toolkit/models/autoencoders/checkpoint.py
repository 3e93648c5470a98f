"""Autoencoders from where people keep them: a folder, a pipeline's folder, one file, or the demo."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import torch

from toolkit.errors import ModelError
from toolkit.models import demo
from toolkit.models.diffusers_compat import CLASS_KEY, class_named, diffusers_version, is_model_class
from toolkit.models.weight_files import (
    SAFE,
    check_file,
    check_files,
    missing_keys,
    read_object,
    refuse_missing,
    stored_dtype,
)

DEMOS = {"demo-image": "image_vae", "demo-video": "video_vae"}
"""The demo models by the names that the command line takes, and the functions of the demo that load them."""


def load_vae(
    source: str | PathLike[str],
    dtype: torch.dtype | None = None,
    *,
    name: str | None = None,
    config: str | PathLike[str] | None = None,
    pickled: bool = False,
) -> Any:
    """Load an autoencoder by its own class's ``from_pretrained`` or ``from_single_file``, without going online.

    Args:
        source: A folder as ``save_pretrained`` writes it; a pipeline's folder, whose ``vae`` is taken; one file in a
            layout that diffusers converts; ``"demo-image"`` or ``"demo-video"``.
        dtype: Dtype of the weights. None: that of most of them; single precision for demo, single and pickled files.
        name: The class of a single file; a folder's ``config.json`` names it.
        config: The folder with the ``config.json`` that belongs to a single file.
        pickled: Take a pickled file (``.bin``, ``.ckpt``, ``.pt``) if there are no safetensors. Even then, nothing but
            tensors is unpickled.

    Returns:
        The model on the CPU, in evaluation mode.

    Raises:
        ModelError: If nothing is there, the class is unknown, a single file comes without class and config, or a file
            of weights is pickled, is not whole, or lacks some.

    Example:
        >>> type(load_vae("demo-image")).__name__
        'AutoencoderKL'
    """
    if str(source) in DEMOS:
        vae: Any = getattr(demo, DEMOS[str(source)])()
        return vae if dtype in (None, torch.float32) else vae.to(dtype)
    path = Path(source)
    if path.is_file():
        check_file(path, pickled=pickled)
        return _single_file(path, dtype, name=name, config=config)
    # A pipeline's folder holds its parts in folders of their own.
    if (path / "model_index.json").is_file():
        path = path / "vae"
    if not (path / "config.json").is_file():
        raise ModelError(
            f"{source}: holds no config.json. Give a folder that save_pretrained wrote, a pipeline's folder, a file "
            f"with its class and config, or one of {', '.join(DEMOS)}."
        )
    cls = _class(name or read_object(path / "config.json").get(CLASS_KEY, "no class"))
    files = check_files(path, pickled=pickled)
    safe = any(file.suffix == SAFE for file in files) or not pickled
    given = {"torch_dtype": dtype or stored_dtype(files) or torch.float32, "use_safetensors": safe}
    try:
        vae, report = cls.from_pretrained(path, local_files_only=True, output_loading_info=True, **given)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be loaded: {error} Fetch the checkpoint again.") from error
    refuse_missing(path, report["missing_keys"])
    return _for_use(vae)


def _single_file(path: Path, dtype: torch.dtype | None, *, name: str | None, config: str | PathLike[str] | None) -> Any:
    if name is None or config is None:
        raise ModelError(
            f"{path}: one file names neither its class nor its configuration. Give both, as name='AutoencoderKL' and "
            "config= the folder with its config.json (on the command line --class and --config)."
        )
    cls = _class(name)
    if not hasattr(cls, "from_single_file"):
        raise ModelError(f"{name} has no from_single_file: save it with save_pretrained and give the folder.")
    try:
        return _for_use(cls.from_single_file(path, config=str(config), torch_dtype=dtype, local_files_only=True))
    except Exception as error:
        # What the file lacks stays on the meta device, from where diffusers cannot move it; and the functions that
        # convert layouts raise whatever their dictionaries do.
        with torch.device("meta"):
            model = cls.from_config(cls.load_config(str(config)))
        lacking = missing_keys(model, [path])
        # In another layout than the class's own, all names are different ones.
        refuse_missing(path, lacking if len(lacking) < len(model.state_dict()) else [])
        raise ModelError(
            f"{path} lacks weights of {name}, or is in a layout that diffusers {diffusers_version()} does not convert "
            f"({type(error).__name__}: {error}). Fetch it again, or give the folder of the model."
        ) from error


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
