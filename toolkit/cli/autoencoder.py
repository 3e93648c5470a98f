"""The options that say which autoencoder to load, and the autoencoder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from toolkit.models.autoencoders.checkpoint import DEMOS, load_vae

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def add_autoencoder(command: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add the options.

    Args:
        command: The parser of the command.
        default: The autoencoder if none is named; None: one must be.
    """
    usual = f" (default: {default})" if default else ""
    command.add_argument(
        "--vae",
        required=default is None,
        default=default,
        help=f"autoencoder: its folder, a pipeline's folder, a single file, or {', '.join(DEMOS)}{usual}",
    )
    command.add_argument("--class", dest="name", help="class in diffusers, for a single file")
    command.add_argument("--config", type=Path, help="folder with config.json, for a single file")
    command.add_argument(
        "--dtype", choices=sorted(DTYPES), help="dtype of weights and input (default: that of the stored weights)"
    )
    command.add_argument(
        "--pickled",
        action="store_true",
        help="take weights from a pickled file (.bin, .ckpt, .pt) if there are no safetensors",
    )


def autoencoder_from(options: argparse.Namespace) -> Any:
    """The autoencoder that the options name.

    Raises:
        ModelError: If it cannot be loaded.
    """
    dtype = DTYPES.get(options.dtype or "")
    return load_vae(options.vae, dtype, name=options.name, config=options.config, pickled=options.pickled)
