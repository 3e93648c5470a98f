"""The command line: ``python -m toolkit``, one module for each command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from toolkit.cli import bench_command as bench
from toolkit.cli import decode_command as coding
from toolkit.cli import doctor
from toolkit.cli import generate_command as generate
from toolkit.cli import parity_command as parity
from toolkit.cli import report_command as report
from toolkit.errors import ToolkitError

COMMANDS = (coding, generate, report, bench, parity, doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m toolkit", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except ToolkitError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return status
