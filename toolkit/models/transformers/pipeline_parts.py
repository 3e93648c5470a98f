"""What a pipeline is made of: its class, the transformers that denoise, its other modules. No weights are read."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from toolkit.errors import ModelError
from toolkit.models.diffusers_compat import CLASS_KEY, class_named, component_module, diffusers_version, has_pipelines
from toolkit.models.protocols import Pipeline
from toolkit.models.weight_files import read_object

Source: TypeAlias = "Pipeline | str | PathLike[str]"
"""A pipeline, or the folder that one was saved in."""

INDEX = "model_index.json"

LIBRARIES = ("diffusers", "transformers")
"""Whose classes a folder may name. Its list decides what is imported, so with another one's it could run anything."""


def pipeline_class(source: Source) -> type[Any]:
    """Return the class of a pipeline.

    Raises:
        ModelError: If a folder holds no pipeline, or one of a class that this diffusers does not have.
    """
    if not isinstance(source, (str, PathLike)):
        return type(source)
    name = index_of(source).get(CLASS_KEY)
    cls = class_named(name)
    if cls is None:
        raise ModelError(
            f"{fspath(source)} is a pipeline of class {name!r}, which diffusers {diffusers_version()} does not have: "
            "only its own pipelines run in stages. Install a diffusers that has it."
        )
    return cls


def experts_of(source: Source) -> dict[str, type[nn.Module]]:
    """Return the transformers that denoise, by name and in the order in which they take over from each other.

    Most pipelines have one. If two share the steps, as in Wan 2.2 A14B, the second is ``transformer_2``.

    Args:
        source: A pipeline, or the folder that one was saved in.

    Returns:
        The class of each.

    Raises:
        ModelError: If it has no transformer, or has a ControlNet, whose output goes into the layers from outside.

    Example:
        >>> import json
        >>> from tempfile import TemporaryDirectory
        >>> listed = ["diffusers", "WanTransformer3DModel"]
        >>> index = {"_class_name": "WanPipeline", "transformer": listed, "transformer_2": listed, "vae": [None, None]}
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, INDEX).write_text(json.dumps(index))
        ...     list(experts_of(folder))
        ['transformer', 'transformer_2']
    """
    parts = components_of(source)
    name = pipeline_class(source).__name__
    # Residuals that a pipeline is given by hand are arguments of the call, and do reach every stage.
    control = [part for part in parts if "controlnet" in part]
    if control:
        raise ModelError(
            f"{name} has a {control[0]}: what it adds to the transformer's layers is not passed from stage to stage. "
            "Run it whole, or use the pipeline without ControlNet."
        )
    found = sorted(part for part in parts if _is_expert(part))
    if not found:
        raise ModelError(
            f"{name} has no transformer (its modules: {', '.join(parts) or 'none'}), and only the layers of a "
            "transformer are cut in stages. Run it whole."
        )
    return {part: parts[part] for part in found}


def modules_of(source: Source) -> dict[str, type[nn.Module]]:
    """Return the modules that are not experts (text and image encoders, the vae and so on), with the class of each.

    Raises:
        ModelError: If a folder holds no pipeline, or a module of an unknown class.
    """
    return {part: cls for part, cls in components_of(source).items() if not _is_expert(part)}


def index_of(folder: str | PathLike[str]) -> dict[str, Any]:
    """Read a saved pipeline's own list of its components.

    Raises:
        ModelError: If the folder holds none, or names a class of another library than diffusers or transformers.
    """
    path = Path(folder)
    if not (path / INDEX).is_file():
        raise ModelError(
            f"{fspath(folder)!r} holds no pipeline: a folder with a {INDEX}, as save_pretrained writes it, is needed. "
            "Download a pipeline of the Hub with tk.download(NAME), and give the folder that it returns."
        )
    index = read_object(path / INDEX)
    for name, entry in index.items():
        if isinstance(entry, list) and entry and not _is_known(entry[0]):
            raise ModelError(
                f"{fspath(folder)!r}: its {name} is a class of {entry[0]!r}, and a folder may only name classes of "
                f"{' and '.join(LIBRARIES)}. If you trust it, load the pipeline yourself and give the object."
            )
    return index


def _is_known(library: object) -> bool:
    """Whether a library is a known one, or a package of pipelines in diffusers, or none."""
    return library is None or library in LIBRARIES or (isinstance(library, str) and has_pipelines(library))


def components_of(source: Source) -> dict[str, type[nn.Module]]:
    """Return the modules among the components, with the class of each; those that are None are left out.

    Raises:
        ModelError: If a folder holds no pipeline, or a module of an unknown class.
    """
    if not isinstance(source, (str, PathLike)):
        if not isinstance(getattr(source, "components", None), dict):
            raise ModelError(
                f"{type(source).__name__} is not a pipeline: give a pipeline of diffusers, or the folder of one."
            )
        return {name: type(part) for name, part in source.components.items() if isinstance(part, nn.Module)}
    # Entries are [library, class]; other values of the index are settings of the pipeline.
    listed = {name: entry for name, entry in index_of(source).items() if isinstance(entry, list) and entry[0]}
    classes = {name: _class(name, *entry) for name, entry in listed.items()}
    return {name: cls for name, cls in classes.items() if issubclass(cls, nn.Module)}


def _class(component: str, library: str, name: str) -> type[Any]:
    """The class that a pipeline's list names, from diffusers, from transformers or from the pipeline's own package."""
    try:
        cls = getattr(component_module(library), name)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"component {component!r} is of class {library}.{name}, which is not available here ({error}): its class "
            "must be known before anything is loaded. Install what it needs."
        ) from error
    assert isinstance(cls, type)
    return cls


def _is_expert(component: str) -> bool:
    # transformer, transformer_2; not a text encoder that happens to be one, nor "transformers".
    return "transformer" in component.split("_")
