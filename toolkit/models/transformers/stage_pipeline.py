"""A pipeline of its own class, whose transformers are loaded by stages and whose other modules only where wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from toolkit.errors import PlanError
from toolkit.geometry.span import Span
from toolkit.models.diffusers_compat import diffusers_logging, is_model_class, note_origin
from toolkit.models.module_compat import map_tensors, put_parameter_first
from toolkit.models.transformers.component_check import check_component
from toolkit.models.transformers.pipeline_parts import components_of, experts_of, modules_of, pipeline_class
from toolkit.models.transformers.stage_loading import load_stage
from toolkit.models.transformers_compat import transformers_logging

Module = TypeVar("Module", bound=nn.Module)
Dtype = torch.dtype | Mapping[str, torch.dtype] | None

SAFELY = {"local_files_only": True, "use_safetensors": True}
"""What ``from_pretrained`` is given unless the caller says otherwise: nothing is fetched, nothing unpickled."""


def load_pipeline(
    path: str | PathLike[str],
    spans: Mapping[str, Iterable[Span]],
    *,
    with_modules: Collection[str] = (),
    **kwargs: Any,
) -> Any:
    """Load a pipeline in which this process holds one stage of the transformers.

    Schedulers, tokenizers and the like are loaded. Experts without spans, and other modules that are not named, are
    hollow: of the right class, config and dtype, but without weights.

    Args:
        path: The folder of a pipeline, as ``save_pretrained`` writes it.
        spans: The own layers of each expert, by its name (``experts_of``).
        with_modules: The names of other modules (``modules_of``) to load with weights.
        **kwargs: Arguments of the pipeline's ``from_pretrained``: ``dtype`` (``torch_dtype`` in older releases),
            ``variant``, components of your own.

    Returns:
        The pipeline, of its own class.

    Raises:
        ModelError: If the folder holds no pipeline that can be cut in stages, or files of weights that are pickled, are
            not whole, or lack some.
        PlanError: If a name is not in the pipeline, or an expert does not have the layers.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from diffusers import DDIMScheduler, DiTPipeline
        >>> from toolkit.models.autoencoders.census import specimen
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> pipe = DiTPipeline(transformer("DiT").build(), specimen("AutoencoderKL").build(), DDIMScheduler())
        >>> with TemporaryDirectory() as folder:
        ...     pipe.save_pretrained(folder)
        ...     mine = load_pipeline(folder, {"transformer": [Span(0, 1)]})
        >>> type(mine).__name__, mine.vae.config.latent_channels, mine.device.type
        ('DiTPipeline', 4, 'cpu')
        >>> [next(layer.parameters()).is_meta for layer in mine.transformer.transformer_blocks]
        [False, True, True, True]
    """
    experts, modules = experts_of(path), modules_of(path)
    _check_names(spans, experts, argument="spans")
    _check_names(with_modules, modules, argument="with_modules")
    parts: dict[str, nn.Module] = {}
    for name, cls in (experts | modules).items():
        if name in kwargs:
            continue  # given by the caller
        folder = Path(path, name)
        if name in with_modules:
            _check(folder, cls, kwargs)
            continue  # left to the pipeline's own loading
        dtype = _dtype_of(name, kwargs.get("dtype", kwargs.get("torch_dtype")))
        if name in spans:
            parts[name] = load_stage(folder, spans[name], torch_dtype=dtype, variant=_variant(folder, kwargs))
        else:
            parts[name] = hollow(folder, cls, torch_dtype=dtype)
    # Of its own class: DiffusionPipeline.from_pretrained loads optional components whole although they are given.
    return pipeline_class(path).from_pretrained(path, **{**SAFELY, **parts, **kwargs})


def load_whole(path: str | PathLike[str], **kwargs: Any) -> Any:
    """Load a pipeline from a folder with all its weights, as its own ``from_pretrained`` does.

    Raises:
        ModelError: If the folder holds no pipeline, or files of weights that are pickled, are not whole, or lack some.
    """
    for name, cls in components_of(path).items():
        if name not in kwargs:
            _check(Path(path, name), cls, kwargs)
    return pipeline_class(path).from_pretrained(path, **{**SAFELY, **kwargs})


def hollow_parts(path: str | PathLike[str], names: Iterable[str]) -> dict[str, Any]:
    """Make transformers of a saved pipeline without their weights, to read their layers."""
    experts = experts_of(path)
    return {name: hollow(Path(path, name), experts[name]) for name in names}


def hollow(folder: str | PathLike[str], cls: type[Any], *, torch_dtype: torch.dtype | None = None) -> Any:
    """Make a module of the class and config in ``folder``, with its weights on the meta device.

    One empty parameter is real. It comes first, so the module reports the device that it is moved to when a pipeline
    asks for it.

    Args:
        folder: A folder with the config.json of a model of diffusers or transformers.
        cls: The module's class.
        torch_dtype: Dtype of the weights. None: what ``from_pretrained`` would make of them, the checkpoint's dtype for
            transformers and float32 for diffusers.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from toolkit.models.autoencoders.census import specimen
        >>> vae = specimen("AutoencoderKL").build()
        >>> with TemporaryDirectory() as folder:
        ...     vae.save_pretrained(folder)
        ...     shell = hollow(folder, type(vae), torch_dtype=torch.bfloat16)
        >>> shell.device.type, shell.dtype, shell.decoder.conv_in.weight.is_meta
        ('cpu', torch.bfloat16, True)
    """
    if is_model_class(cls):
        config = cls.load_config(folder)
        with torch.device("meta"):
            module = cls.from_config(config)
        note_origin(module, fspath(folder))
        dtype = torch_dtype or torch.float32
    else:
        config = cls.config_class.from_pretrained(folder)
        config.name_or_path = fspath(folder)
        dtype = torch_dtype or config.dtype or torch.float32
        # A model of several (a vision tower and a language model) makes each by a config of its own.
        for part in (config, *(getattr(config, name) for name in config.sub_configs)):
            part.dtype = dtype
        with torch.device("meta"):
            module = cls(config)
    # Past the class's own ``to``, to which both libraries add checks of their own.
    nn.Module.to(module, dtype=dtype)
    put_parameter_first(module, "here", parameter=nn.Parameter(torch.empty(0, dtype=dtype), requires_grad=False))
    return module.eval()


@contextmanager
def quiet() -> Iterator[None]:
    """Load without the progress bars of diffusers and transformers, and restore them."""
    # Each library has a switch of its own; a bar that was off before stays off.
    libraries = (diffusers_logging(), transformers_logging())
    shown = [library for library in libraries if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()


def placed(module: Module, device: torch.device | str) -> Module:
    """Move what a module holds to a device; what is on the meta device stays there.

    ``Module.to`` raises for a module that is partly on the meta device.

    Example:
        >>> with torch.device("meta"):
        ...     pair = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> pair[1].to_empty(device="cpu").bias.is_meta
        False
        >>> [layer.weight.device.type for layer in placed(pair, "cpu")]
        ['meta', 'cpu']
    """

    def move(tensor: Tensor) -> Tensor:
        return tensor if tensor.is_meta else tensor.to(device)

    return map_tensors(module, move)


def _check(folder: Path, cls: type[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse a component that ``from_pretrained`` would load with random weights, or unpickle."""
    # A class of neither library cannot be made without its weights.
    shell = hollow(folder, cls) if is_model_class(cls) or hasattr(cls, "config_class") else None
    check_component(folder, shell, kwargs, variant=_variant(folder, kwargs))


def _check_names(given: Iterable[str], known: Collection[str], *, argument: str) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise PlanError(
            f"{argument} names {unknown[0]!r}: the pipeline has {', '.join(known) or 'none'}. Name one of these."
        )


def _variant(folder: Path, kwargs: Mapping[str, Any]) -> str | None:
    """The variant asked for, if a component's files have it; the pipeline's own loading falls back in the same way."""
    variant = kwargs.get("variant")
    return variant if variant and any(folder.glob(f"*.{variant}[.-]*")) else None


def _dtype_of(name: str, torch_dtype: Dtype) -> torch.dtype | None:
    if isinstance(torch_dtype, Mapping):
        return torch_dtype.get(name, torch_dtype.get("default", torch.float32))
    return torch_dtype
