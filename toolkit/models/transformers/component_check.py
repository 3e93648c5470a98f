"""The parts of a pipeline's folder, looked at before the pipeline's own ``from_pretrained`` loads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from toolkit.models.weight_files import check_files, missing_keys, refuse_missing


def check_component(folder: Path, shell: nn.Module | None, kwargs: Mapping[str, Any], *, variant: str | None) -> None:
    """Refuse a component whose files are pickled, are not whole, or lack weights.

    ``from_pretrained`` starts weights that are missing with random ones, and a pipeline does not say which.

    Args:
        folder: The component's folder.
        shell: The component without weights; None: only its files are looked at.
        kwargs: Arguments of the pipeline's ``from_pretrained``; ``use_safetensors=False`` asks for pickled files.
        variant: The variant of its files that will be loaded.

    Raises:
        ModelError: If its files are as above.
    """
    pickled = kwargs.get("use_safetensors") is False
    files = check_files(folder, pickled=pickled, variant=variant)
    if shell is None or not files or not missing_keys(shell, files):
        return
    # The libraries know of weights by older names, and of some that may be missing: ask them. On the meta device they
    # read no weights.
    given = {"use_safetensors": not pickled, "variant": variant, "local_files_only": True, "device_map": "meta"}
    _, report = type(shell).from_pretrained(folder, output_loading_info=True, **given)  # type: ignore[attr-defined]
    refuse_missing(folder, report["missing_keys"])
