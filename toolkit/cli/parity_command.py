"""``parity``: check what equals what, for every autoencoder class."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from toolkit.bench.parity import as_text, parity
from toolkit.cli.values import output_file
from toolkit.models.autoencoders.census import specimen
from toolkit.runs.written import write


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    check = commands.add_parser("parity", help="check what equals what, for every autoencoder class")
    check.add_argument("names", nargs="*", metavar="class", help="names in the census (default: all)")
    check.add_argument(
        "--dtype",
        nargs="+",
        default=["float32"],
        choices=["float32", "float64", "bfloat16"],
        help="dtypes of weights and input (default: float32)",
    )
    check.add_argument(
        "--json", type=output_file(), help="write all checks to this file, with the reasons for refusals"
    )
    check.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    for name in options.names:
        specimen(name)
    table = parity(options.names, options.dtype)
    print(as_text(table))
    if options.json:
        write(options.json, partial(table.to_json, orient="records", indent=2))
    return 0
