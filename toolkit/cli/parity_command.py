"""``parity``: check what equals what, for every autoencoder class."""

from __future__ import annotations

import argparse
from functools import partial

from toolkit.bench.parity import as_text, parity
from toolkit.cli.values import output_file
from toolkit.models.autoencoders.census import specimen
from toolkit.runs.written import write


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    command.add_argument("names", nargs="*", metavar="class", help="names in the census (default: all)")
    command.add_argument(
        "--dtype",
        nargs="+",
        default=["float32"],
        choices=["float32", "float64", "bfloat16"],
        help="dtypes of weights and input (default: float32)",
    )
    command.add_argument(
        "--json", type=output_file(), help="write all checks to this file, with the reasons for refusals"
    )
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    for name in options.names:
        specimen(name)
    table = parity(options.names, options.dtype)
    print(as_text(table))
    if options.json:
        write(options.json, partial(table.to_json, orient="records", indent=2))
    return 0
