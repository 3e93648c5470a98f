"""The command line, ``toolkit`` or ``python -m toolkit``, with one module per command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from toolkit.about import DISTRIBUTION, __version__

DESCRIPTION = (
    "Run diffusion autoencoders in tiles or exact shards, and diffusion pipelines in stages, over several ranks."
)
COMMANDS = {
    "decode": ("decode_command", "decode with an autoencoder on several ranks"),
    "encode": ("encode_command", "encode with an autoencoder on several ranks"),
    "generate": ("generate_command", "run a pipeline with its transformers in stages over several ranks"),
    "rehearse": ("rehearse_command", "predict a decode or encode on any number of ranks, before it runs"),
    "report": ("report_command", "report time, memory, errors and pictures of a decode on several ranks"),
    "bench": ("bench_command", "measure speed as ratios of paired runs"),
    "parity": ("parity_command", "check what equals what, for every autoencoder class"),
    "doctor": ("doctor", "check this machine, and whether two ranks can work together on it"),
    "agent": ("agent_command", "let a cluster of another machine have ranks on this one"),
}
"""Each command's module and what it does. A module loads when its command is used: ``--help`` needs no torch."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog=_called(), description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"{DISTRIBUTION} {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, (module, does) in COMMANDS.items():
        command = commands.add_parser(name, help=does)
        if given[:1] == [name]:
            import_module(f"toolkit.cli.{module}").add_to(command)
    if not given or given[0] not in COMMANDS:
        parser.parse_args(given)  # help, the version, or a word that is no command: it ends the process
    status: int = import_module("toolkit.cli.starting").start(parser, given)
    return status


def _called() -> str:
    """How this program was started, for its usage line."""
    return "toolkit" if Path(sys.argv[0]).name == "toolkit" else "python -m toolkit"
