"""Loading one stage: a transformer of its own class, in which only the layers of one stage hold weights.

diffusers' own ``from_pretrained`` reads the files, because shards, dtypes and what stays in float32 are its business.
It reads the weights of the modules that the constructor makes. So a class is derived whose constructor makes the whole
transformer on the meta device and then puts the layers of other stages aside, before anything is read:

    1. from_pretrained of the derived class calls its constructor;
    2. that makes all layers, without memory, and replaces foreign ones by bare modules without weights;
    3. from_pretrained reads the weights that are left, and is told to pass over those of foreign layers;
    4. the result becomes an instance of the original class, with the foreign layers back in their places, on meta.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from functools import wraps
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
from torch import nn

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.span import Span
from toolkit.models.diffusers_compat import CLASS_KEY, class_named, diffusers_version, ignore_on_load, is_model_class
from toolkit.models.transformers.layers import layers_of, needs_of, owned
from toolkit.models.weight_files import check_files, read_object


def load_stage(
    path: str | PathLike[str],
    spans: Iterable[Span],
    *,
    subfolder: str | None = None,
    torch_dtype: torch.dtype | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Load a transformer in which only some layers hold weights.

    What lies outside the layers (embeddings, norms, projections) is loaded as well, since every stage computes with it.
    Other layers keep their place, class and keys, on the meta device; their weights are not read from the files.

    Args:
        path: A folder of safetensors, or a pipeline's folder together with ``subfolder``.
        spans: The stage's own layers, by their place in ``layers_of``; several spans for several chunks.
        subfolder: The transformer's folder below ``path``.
        torch_dtype: Dtype of the weights; None: float32, as ``from_pretrained`` has it.
        **kwargs: Further arguments of ``from_pretrained``.

    Returns:
        The transformer in eval mode, of the class that the checkpoint names.

    Raises:
        ModelError: If the folder holds no transformer, a weight that the stage needs is missing, or its layers cannot
            be read.
        PlanError: If the transformer has no such layers, or ``spans`` is empty.

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
    # low_cpu_mem_usage builds on the meta device: without it the layers put aside would have been allocated first.
    options = {"torch_dtype": torch_dtype, "use_safetensors": True, "low_cpu_mem_usage": True, **kwargs}
    try:
        model, report = _partial(cls, tuple(spans), aside=aside).from_pretrained(
            fspath(path), **({"subfolder": subfolder} if subfolder else {}), output_loading_info=True, **options
        )
    except OSError as error:
        found = ", ".join(sorted(file.name for file in folder.iterdir()))
        raise ModelError(
            f"'{folder}' cannot be read ({found}): {error} Fetch the files that are missing, or name the variant= that "
            "they belong to."
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(
            f"{folder} lacks {len(missing)} weights of the stage, the first {missing[0]}, and a stage cannot run "
            "without one of its own. Fetch the checkpoint again, or save it with the class that it names."
        )
    whole = _as(cls, model)
    for name, block in aside.items():
        whole.set_submodule(name, block)
    return whole.eval()  # type: ignore[no-any-return]


def _partial(cls: type[Any], spans: tuple[Span, ...], *, aside: dict[str, nn.Module]) -> type[Any]:
    """Derive a class whose constructor puts the layers outside ``spans`` aside before anything is read.

    Args:
        cls: The transformer's class.
        spans: The stage's own layers.
        aside: Filled with the layers that were put aside, by name.
    """
    init = cls.__init__

    # diffusers decides by the constructor's signature which entries of the config are arguments: wraps keeps it.
    @wraps(init)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        own = _as(cls, self)  # what reads layers off the source looks entries up by the class
        mine = {name for span in spans for name in owned(own, span)}
        if not mine:
            raise PlanError(f"spans={spans}: a stage has at least one layer. Give the spans of its chunks.")
        needs = tuple(name for span in spans for name in needs_of(own, span))
        for name in layers_of(own):
            if name not in mine:
                aside[name] = own.get_submodule(name)
                self.set_submodule(name, _stand_in(name, aside[name], needs=needs))
        ignore_on_load(partial, cls, patterns=[rf"^{re.escape(name)}\." for name in aside])

    # The same name and module, by which from_pretrained looks up and reports.
    partial: type[Any] = type(cls.__name__, (cls,), {"__init__": construct, "__module__": cls.__module__})
    return partial


def _stand_in(name: str, block: nn.Module, *, needs: Iterable[str]) -> nn.Module:
    """Make a module that holds only those sub-modules of ``block`` that are needed; the rest of it goes to meta."""
    kept = [need.removeprefix(f"{name}.") for need in needs if need.startswith(f"{name}.")]
    bare = nn.Module()
    for path in kept:
        # The same path as in the block, through bare modules, so that the weights' names in the files fit.
        above = bare
        *parents, last = path.split(".")
        for parent in parents:
            if parent not in dict(above.named_children()):
                above.add_module(parent, nn.Module())
            above = above.get_submodule(parent)
        above.add_module(last, block.get_submodule(path))
    for path, module in block.named_modules():
        if not any(path == keep or path.startswith(f"{keep}.") for keep in kept):
            # Parameters are on meta already; buffers are computed by constructors, and so may be real.
            for key, buffer in module.named_buffers(recurse=False):
                setattr(module, key, buffer.to("meta"))
    return bare


def _as(cls: type[Any], model: nn.Module) -> Any:
    """Make an instance of ``cls`` that shares everything with ``model``, which is of a class derived from it."""
    twin = object.__new__(cls)
    vars(twin).update(vars(model))
    return twin


def _class_in(folder: Path) -> type[Any]:
    """The class of the checkpoint in a folder."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"'{folder}' holds no transformer: a folder with a config.json, as save_pretrained writes it, is needed. "
            "For a pipeline's folder name the transformer's: subfolder='transformer'."
        )
    name = _config_in(folder).get(CLASS_KEY)
    cls = class_named(name)
    if cls is None or not is_model_class(cls):
        raise ModelError(
            f"'{folder}' holds a {name}, which diffusers {diffusers_version()} does not have as a model: stages are "
            "loaded through its own classes. Install a diffusers that has it."
        )
    return cls


def _config_in(folder: Path) -> dict[str, Any]:
    return read_object(folder / "config.json")


def _check(folder: Path, kwargs: dict[str, Any]) -> None:
    """Refuse what cannot be read piece by piece."""
    if not any(folder.glob("*.safetensors")):
        found = ", ".join(sorted(file.name for file in folder.iterdir())) or "nothing"
        raise ModelError(
            f"'{folder}' holds no .safetensors ({found}), the only kind of file that single weights are read from. "
            "Load the model whole, and save it with save_pretrained."
        )
    check_files(folder, variant=kwargs.get("variant"))
    if (
        _config_in(folder).get("quantization_config")
        or kwargs.get("quantization_config")
        or kwargs.get("device_map") is not None
    ):
        raise ModelError(
            f"'{folder}' with quantization_config or device_map: a stage is loaded as it is, onto the CPU. Move it "
            "with toolkit.models.transformers.stage_pipeline.placed, and load a checkpoint that is not quantised."
        )
    if importlib.util.find_spec("accelerate") is None:
        raise ModelError(
            "loading only a stage needs accelerate, which is not installed: with it, from_pretrained allocates only "
            "the weights that it reads. Install it: pip install accelerate."
        )
