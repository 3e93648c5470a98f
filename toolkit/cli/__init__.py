"""The command line: ``python -m toolkit``, with one module per command."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence

from toolkit.cli import agent_command as agent
from toolkit.cli import bench_command as bench
from toolkit.cli import decode_command as coding
from toolkit.cli import doctor
from toolkit.cli import generate_command as generate
from toolkit.cli import parity_command as parity
from toolkit.cli import rehearse_command as rehearse
from toolkit.cli import report_command as report
from toolkit.distributed.comm.launched import launched_rank, launched_ranks, leave_launch
from toolkit.errors import ToolkitError

COMMANDS = (coding, generate, rehearse, report, bench, parity, doctor, agent)
DESCRIPTION = (
    "Run diffusion autoencoders in tiles or exact shards, and diffusion pipelines in stages, over several ranks."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m toolkit", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.add_to(commands)
    options = parser.parse_args(arguments)
    if launched_ranks() is not None and not getattr(options, "everywhere", False):
        if launched_rank() > 0:
            print(f"rank {launched_rank()} has nothing to do: this command needs one process, and runs on rank 0.")
            return 0
        leave_launch()
        print(f"This command needs one process: it runs on rank 0, on host {socket.gethostname()}.", flush=True)
        # Again, because under a launcher not all options are checked while they are read.
        options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except ToolkitError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return status
