"""Run the command that was given, in this process or on every rank that a launcher has started."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence

from toolkit.distributed.comm.launched import launched_rank, launched_ranks, leave_launch
from toolkit.errors import ToolkitError


def start(parser: argparse.ArgumentParser, given: Sequence[str]) -> int:
    """Read the options, run the command that they name, and return the exit status."""
    options = parser.parse_args(given)
    if launched_ranks() is not None and not getattr(options, "everywhere", False):
        if launched_rank() > 0:
            print(f"rank {launched_rank()} has nothing to do: this command needs one process, and runs on rank 0.")
            return 0
        leave_launch()
        print(f"This command needs one process: it runs on rank 0, on host {socket.gethostname()}.", flush=True)
        # Again, because under a launcher not all options are checked while they are read.
        options = parser.parse_args(given)
    try:
        status: int = options.run(options)
    except ToolkitError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return status
