"""Files of weights, looked at before they are loaded: whole, not pickled, and with every weight that a model has.

The libraries that load them start a model whose weights are missing with random ones, and say so in a warning at most.
"""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from toolkit.errors import ModelError

SAFE = ".safetensors"
PICKLED = (".bin", ".ckpt", ".pt", ".pth")
"""Endings of files that hold Python objects. Reading one can run code that its author wrote."""

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""The dtypes in which models compute, by their names in safetensors files."""

_USUAL = r"(diffusion_pytorch_model|pytorch_model|model)(-\d{5}-of-\d{5})?"
"""What ``save_pretrained`` calls files of weights, less the variant."""


def check_file(file: Path, *, pickled: bool = False) -> None:
    """Refuse a file of weights that is pickled or not whole. Only its header is read.

    Args:
        file: The file.
        pickled: Whether pickled files were asked for.

    Raises:
        ModelError: If it is.
    """
    # The libraries take whatever has none of these endings for pickled.
    if file.suffix not in (SAFE, ".gguf") and not pickled:
        raise ModelError(
            f"{file} is a pickled file, and such files can hold code: give safetensors, or, if you trust the file, ask "
            "for it: pickled=True for an autoencoder (--pickled on the command line), load={'use_safetensors': False} "
            "for a pipeline."
        )
    if file.suffix == SAFE:
        _keys(file)


def check_files(folder: Path, *, pickled: bool = False, variant: str | None = None) -> list[Path]:
    """The files in which a folder keeps a model's weights.

    Args:
        folder: A folder as ``save_pretrained`` writes it.
        pickled: Whether pickled files are read if there are no others.
        variant: The variant asked for, such as ``"fp16"``.

    Raises:
        ModelError: If there are none, one is not whole, or they are pickled and were not asked for.
    """
    for endings in ((SAFE,), PICKLED):
        every = sorted(file for file in folder.glob("*") if file.suffix in endings)
        found = [file for file in every if _is_usual(file, variant)] or [
            file for file in every if _is_usual(file, None)
        ]
        for file in found or every:
            check_file(file, pickled=pickled)
        if found:
            _check_indices(folder, found)
            return found
        if every:
            return []  # named in some other way: what they are is left to the library
    raise ModelError(
        f"{folder} holds no weights: files that end in {SAFE} are needed. Fetch the checkpoint again, or save it with "
        "save_pretrained."
    )


def missing_keys(model: nn.Module, files: Iterable[Path]) -> list[str]:
    """The weights of a model that files do not have under their names, and under no other name of the same weight.

    Args:
        model: The model; its weights may be on the meta device.
        files: Its files of weights.
    """
    found = {key for file in files for key in _keys(file)}
    weights = model.state_dict(keep_vars=True)
    # One weight may have several names; a file holds it under one of them.
    there = {id(weight) for name, weight in weights.items() if name in found}
    return sorted(name for name, weight in weights.items() if id(weight) not in there and weight.numel())


def stored_dtype(files: Iterable[Path]) -> torch.dtype | None:
    """The dtype of most of the numbers in safetensors files; None where there are none. Only headers are read.

    diffusers' ``from_pretrained`` widens to single precision unless it is told a dtype.
    """
    numbers: Counter[str] = Counter()
    for file in files:
        if file.suffix == SAFE:
            with safe_open(file, "pt") as opened:
                slices = [opened.get_slice(key) for key in opened.keys()]  # noqa: SIM118 (not a dict)
                for one in slices:
                    numbers[one.get_dtype()] += prod(one.get_shape())
    known = [name for name, _ in numbers.most_common() if name in FLOATS]
    return FLOATS[known[0]] if known else None


def refuse_missing(where: object, keys: Collection[str]) -> None:
    """Refuse a checkpoint that lacks weights.

    Raises:
        ModelError: If there are any such keys.

    Example:
        >>> refuse_missing("folder", ["conv_in.weight", "conv_in.bias"])
        Traceback (most recent call last):
        toolkit.errors.ModelError: folder lacks 2 weights of the model (conv_in.bias, conv_in.weight), which would be
        random. Fetch the checkpoint again, or save it with the class that it names.
    """
    if not keys:
        return
    names = sorted(keys)
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    count = "1 weight" if len(names) == 1 else f"{len(names)} weights"
    raise ModelError(
        f"{where} lacks {count} of the model ({listed}), which would be random. Fetch the checkpoint again, or save it "
        "with the class that it names."
    )


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file, such as a ``config.json``.

    Raises:
        ModelError: If it holds anything else.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is not valid JSON ({error}): fetch the checkpoint again.") from error
    if not isinstance(found, dict):
        raise ModelError(f"{file} holds a {type(found).__name__}, not a JSON object: fetch the checkpoint again.")
    return found


def _check_indices(folder: Path, files: Collection[Path]) -> None:
    """Refuse files without the weights that their index says they have. diffusers believes the index."""
    names = {file.name for file in files}
    for index in folder.glob("*.index*.json"):
        where = read_object(index).get("weight_map")
        if not isinstance(where, dict) or not names & set(map(str, where.values())):
            continue  # of other files
        for name in sorted(set(map(str, where.values()))):
            file = folder / name
            if Path(name).name != name or not file.is_file():
                raise ModelError(f"{index} names {name!r}, which is not in the folder: fetch the file that is missing.")
            refuse_missing(file, {key for key, holder in where.items() if holder == name} - _keys(file))


def _keys(file: Path) -> set[str]:
    """The names of the weights in a file."""
    try:
        if file.suffix == SAFE:
            with safe_open(file, "pt") as opened:
                return set(opened.keys())
        # weights_only: what is not a tensor or a plain container is refused. On meta, no weight is read.
        loaded = torch.load(file, map_location="meta", weights_only=True)
        return set(loaded) if isinstance(loaded, Mapping) else set()
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"{file} cannot be read as a file of weights, or ends too early ({error}): fetch it again."
        ) from error


def _is_usual(file: Path, variant: str | None) -> bool:
    # Both orders occur: model.fp16-00001-of-00002 and model-00001-of-00002.fp16.
    mark = "" if variant is None else rf"\.{re.escape(variant)}"
    return (
        re.fullmatch(rf"{_USUAL}{mark}|{_USUAL.replace('(-', f'{mark}(-')}", file.name[: -len(file.suffix)]) is not None
    )
