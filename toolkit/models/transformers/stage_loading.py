"""Loading only a stage: a transformer of its own class of which the layers of one stage alone hold weights."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable
from functools import wraps
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.span import Span
from toolkit.models.transformers.layers import layers_of, needs_of, owned


def load_stage(
    path: str | PathLike[str],
    spans: Iterable[Span],
    *,
    subfolder: str | None = None,
    torch_dtype: torch.dtype | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Load a transformer of which only some layers hold weights.

    What lies outside the layers (embeddings, norms, projections) is loaded as well, since every stage computes with it.
    Other layers keep their place, class and keys, on the meta device. The class's own ``from_pretrained`` does the
    reading: shards, dtype and what is kept in float32 are its business. Of the file's weights no others are read.

    Args:
        path: a folder of safetensors, or of a pipeline with ``subfolder``.
        spans: the stage's own layers, of ``layers_of``; several for several chunks.
        subfolder: the transformer's folder below ``path``.
        torch_dtype: of the weights; None: float32, as ``from_pretrained`` has it.
        kwargs: further arguments of ``from_pretrained``.

    Returns:
        The transformer, in eval mode, of the class that the checkpoint names.

    Raises:
        ModelError: where the folder holds no such checkpoint, or one without a weight that the stage needs; where its
            layers cannot be read.
        PlanError: where the transformer has no such layers, or ``spans`` is empty.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> with TemporaryDirectory() as folder:
        ...     transformer("Wan").build().save_pretrained(folder)
        ...     last = load_stage(folder, [Span(2, 4)])
        >>> type(last).__name__, [block.ffn.net[2].weight.is_meta for block in last.blocks]
        ('WanTransformer3DModel', [True, True, False, False])
    """
    folder = Path(path, subfolder or "")
    cls = _class_in(folder)
    _check(folder, kwargs)
    aside: dict[str, nn.Module] = {}
    options = {"torch_dtype": torch_dtype, "use_safetensors": True, "low_cpu_mem_usage": True, **kwargs}
    try:
        model, report = _partial(cls, tuple(spans), aside).from_pretrained(
            fspath(path), **({"subfolder": subfolder} if subfolder else {}), output_loading_info=True, **options
        )
    except OSError as error:
        found = ", ".join(sorted(file.name for file in folder.iterdir()))
        raise ModelError(
            f"'{folder}' cannot be read ({found}): {error} Fetch the files that are missing, or name the variant= that "
            "they are of."
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(
            f"{folder} lacks {len(missing)} weights of the stage, the first {missing[0]}: a stage runs with all of its "
            "own. Fetch the checkpoint again, or save it with the class that it names."
        )
    whole = _as(cls, model)
    for name, block in aside.items():
        _put(whole, name, block)
    return whole.eval()


def _partial(cls: type[Any], spans: tuple[Span, ...], aside: dict[str, nn.Module]) -> type[Any]:
    """A class like ``cls``, whose constructor puts the layers outside ``spans`` aside before anything is read.

    What is put aside goes to ``aside``; stand-ins hold no weights, so from_pretrained leaves those of the file alone.
    """
    init = cls.__init__

    # The signature decides which entries of the config are arguments.
    @wraps(init)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        own = _as(cls, self)
        mine = {name for span in spans for name in owned(own, span)}
        if not mine:
            raise PlanError(f"spans={spans}: a stage has one layer at least. Give the spans of its chunks.")
        needs = tuple(name for span in spans for name in needs_of(own, span))
        for name in layers_of(own):
            if name not in mine:
                aside[name] = own.get_submodule(name)
                _put(self, name, _stand_in(name, aside[name], needs))
        ignored = [rf"^{re.escape(name)}\." for name in aside]
        partial._keys_to_ignore_on_load_unexpected = [*(cls._keys_to_ignore_on_load_unexpected or []), *ignored]

    partial: type[Any] = type(cls.__name__, (cls,), {"__init__": construct, "__module__": cls.__module__})
    return partial


def _stand_in(name: str, block: nn.Module, needs: Iterable[str]) -> nn.Module:
    """A module without weights but for the sub-modules of ``block`` that are needed; the rest of it goes to meta."""
    kept = [need.removeprefix(f"{name}.") for need in needs if need.startswith(f"{name}.")]
    bare = nn.Module()
    for path in kept:
        above = bare
        *parents, last = path.split(".")
        for parent in parents:
            if parent not in above._modules:
                above.add_module(parent, nn.Module())
            above = above.get_submodule(parent)
        above.add_module(last, block.get_submodule(path))
    for path, module in block.named_modules():
        if not any(path == keep or path.startswith(f"{keep}.") for keep in kept):
            for key, buffer in module.named_buffers(recurse=False):
                setattr(module, key, buffer.to("meta"))
    return bare


def _as(cls: type[Any], model: nn.Module) -> Any:
    """An instance of ``cls`` that has all that ``model``, of a class derived from it, has."""
    twin = object.__new__(cls)
    vars(twin).update(vars(model))
    return twin


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    model.get_submodule(parent)._modules[last] = module


def _class_in(folder: Path) -> type[Any]:
    """The class of the checkpoint in a folder."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"'{folder}' holds no transformer: a folder with a config.json, as save_pretrained writes it, is needed. "
            "For a pipeline's folder name the transformer's: subfolder='transformer'."
        )
    name = _config_in(folder).get("_class_name")
    cls = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not isinstance(cls, type) or not issubclass(cls, diffusers.ModelMixin):
        raise ModelError(
            f"'{folder}' holds a {name}, which diffusers {diffusers.__version__} has not as a model: stages are loaded "
            "through its own classes. Install a diffusers that has it."
        )
    return cls


def _config_in(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def _check(folder: Path, kwargs: dict[str, Any]) -> None:
    """Refuse what cannot be read by the piece."""
    if not any(folder.glob("*.safetensors")):
        found = ", ".join(sorted(file.name for file in folder.iterdir())) or "nothing"
        raise ModelError(
            f"'{folder}' holds no .safetensors ({found}): single weights are read from files of that kind only. Load "
            "the model whole, and save it with save_pretrained."
        )
    if (
        _config_in(folder).get("quantization_config")
        or kwargs.get("quantization_config")
        or kwargs.get("device_map") is not None
    ):
        raise ModelError(
            f"'{folder}' with quantization_config or device_map: a stage is loaded as it is, onto the processor. Move "
            "it with toolkit.models.transformers.stage_pipeline.placed, and load a checkpoint that is not quantised."
        )
    if importlib.util.find_spec("accelerate") is None:
        raise ModelError(
            "loading only a stage needs accelerate, which is not installed: with it from_pretrained makes no weights "
            "that are not read. Install it: pip install accelerate."
        )
