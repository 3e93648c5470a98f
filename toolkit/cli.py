"""The command line: ``python -m toolkit``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from toolkit.bench import shards, tiles
from toolkit.errors import ToolkitError

BENCHES = {"tiles": (tiles.bench_tiles, tiles.as_text), "shards": (shards.bench_shards, shards.as_text)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ToolkitError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m toolkit", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    bench = commands.add_parser("bench", help="measure speed as ratios of paired runs")
    bench.add_argument("what", choices=sorted(BENCHES), help="two ranks against one, and against plain diffusers")
    bench.add_argument("--turns", type=int, default=5, help="measurements of each contender (default: %(default)s)")
    bench.add_argument("--device", default="cpu", help="cpu, or an accelerator's type (default: %(default)s)")
    bench.add_argument("--json", type=Path, help="file for the result with its record")
    bench.set_defaults(run=_bench)
    return parser


def _bench(options: argparse.Namespace) -> int:
    measure, as_text = BENCHES[options.what]
    result = measure(options.turns, options.device)
    print(as_text(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 0
