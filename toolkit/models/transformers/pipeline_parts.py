"""What a pipeline is made of: its class, the transformers that denoise, its other modules. No weights are read."""

from __future__ import annotations

import importlib
import importlib.util
import json
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

import diffusers
from diffusers import DiffusionPipeline
from torch import nn

from toolkit.errors import ModelError

Source: TypeAlias = "DiffusionPipeline | str | PathLike[str]"
"""A pipeline, or the folder that one was saved in."""

INDEX = "model_index.json"


def pipeline_class(source: Source) -> type[Any]:
    """The class of a pipeline.

    Raises:
        ModelError: where a folder holds no pipeline, or one of a class that this diffusers has not.
    """
    if isinstance(source, DiffusionPipeline):
        return type(source)
    name = index_of(source).get("_class_name")
    cls = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not isinstance(cls, type):
        raise ModelError(
            f"{fspath(source)} is a pipeline of class {name!r}, which diffusers {diffusers.__version__} has not: only "
            "its own pipelines run in stages. Install a diffusers that has it."
        )
    return cls


def experts_of(source: Source) -> dict[str, type[nn.Module]]:
    """The transformers that denoise, by name and in the order in which they take over from each other.

    Most pipelines have one; where two share the steps, as in Wan 2.2 A14B, the second is ``transformer_2``.

    Args:
        source: a pipeline, or the folder that one was saved in.

    Returns:
        The class of each.

    Raises:
        ModelError: where it has no transformer, or a ControlNet, whose output goes into the layers from outside.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> listed = ["diffusers", "WanTransformer3DModel"]
        >>> index = {"_class_name": "WanPipeline", "transformer": listed, "transformer_2": listed, "vae": [None, None]}
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, INDEX).write_text(json.dumps(index))
        ...     list(experts_of(folder))
        ['transformer', 'transformer_2']
    """
    parts = _parts(source)
    name = pipeline_class(source).__name__
    control = [part for part in parts if "controlnet" in part]
    if control:
        raise ModelError(
            f"{name} has a {control[0]}: what it adds to the transformer's layers is not handed from stage to stage. "
            "Run it whole, or use the pipeline without ControlNet."
        )
    found = sorted(part for part in parts if _is_expert(part))
    if not found:
        raise ModelError(
            f"{name} has no transformer (its modules: {', '.join(parts) or 'none'}): only the layers of a transformer "
            "are cut in stages. Run it whole."
        )
    return {part: parts[part] for part in found}


def modules_of(source: Source) -> dict[str, type[nn.Module]]:
    """The modules that are no experts: text and image encoders, the vae and so on, with the class of each.

    Raises:
        ModelError: where a folder holds no pipeline, or a module of an unknown class.
    """
    return {part: cls for part, cls in _parts(source).items() if not _is_expert(part)}


def index_of(folder: str | PathLike[str]) -> dict[str, Any]:
    """A saved pipeline's own list of its components.

    Raises:
        ModelError: where the folder holds none.
    """
    path = Path(folder)
    if not (path / INDEX).is_file():
        raise ModelError(
            f"{fspath(folder)!r} holds no pipeline: a folder with a {INDEX}, as save_pretrained writes it, is needed. "
            "Download a model of the Hub with huggingface_hub.snapshot_download, and give the folder that it returns."
        )
    index: dict[str, Any] = json.loads((path / INDEX).read_text())
    return index


def _parts(source: Source) -> dict[str, type[nn.Module]]:
    """The modules among the components; those left out are None in the pipeline and in its list."""
    if isinstance(source, DiffusionPipeline):
        return {name: type(part) for name, part in source.components.items() if isinstance(part, nn.Module)}
    listed = {name: entry for name, entry in index_of(source).items() if isinstance(entry, list) and entry[0]}
    classes = {name: _class(name, *entry) for name, entry in listed.items()}
    return {name: cls for name, cls in classes.items() if issubclass(cls, nn.Module)}


def _class(component: str, library: str, name: str) -> type[Any]:
    """The class that a pipeline's list names: of diffusers, of transformers, or of the pipeline's own package."""
    own = f"diffusers.pipelines.{library}"
    try:
        cls = getattr(importlib.import_module(own if importlib.util.find_spec(own) else library), name)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"component {component!r} is of class {library}.{name}, which cannot be had here ({error}): its class must "
            "be known before anything is loaded. Install what it needs."
        ) from error
    assert isinstance(cls, type)
    return cls


def _is_expert(component: str) -> bool:
    return "transformer" in component.split("_")
