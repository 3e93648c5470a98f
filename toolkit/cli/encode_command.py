"""``encode``: as ``decode``, in the other direction."""

from __future__ import annotations

import argparse

from toolkit.cli.decode_command import add_direction


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the options of ``encode`` to its parser."""
    add_direction(command, "encode")
