"""The command line: ``python -m toolkit``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from toolkit.bench import models, parity, shards, stages, tiles
from toolkit.errors import PlanError, ToolkitError
from toolkit.models.census import specimen

BENCHES: dict[str, tuple[Callable[..., dict[str, Any]], Callable[[dict[str, Any]], str]]] = {
    "tiles": (tiles.bench_tiles, tiles.as_text),
    "shards": (shards.bench_shards, shards.as_text),
    "stages": (stages.bench_stages, stages.as_text),
    "models": (models.bench_models, models.as_text),
}


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
    bench.add_argument(
        "what",
        choices=sorted(BENCHES),
        help="tiles, shards: the demo video; stages: the demo pipeline; models: video autoencoders",
    )
    bench.add_argument("--turns", type=int, default=5, help="measurements of each contender (default: %(default)s)")
    bench.add_argument("--device", default="cpu", help="cpu, or an accelerator's type (default: %(default)s)")
    bench.add_argument("--full", action="store_true", help="models: real sizes, for an accelerator")
    modes = bench.add_mutually_exclusive_group()
    modes.add_argument(
        "--emulate",
        dest="mode",
        action="store_const",
        const="emulate",
        help="stages: blocks that mostly sleep stand for a device a rank (the default)",
    )
    modes.add_argument(
        "--compute", dest="mode", action="store_const", const="compute", help="stages: what two ranks really compute"
    )
    bench.add_argument("--block", type=float, help="stages: seconds of an emulated block")
    bench.add_argument("--json", type=Path, help="file for the result with its record")
    bench.set_defaults(run=_bench)
    check = commands.add_parser("parity", help="what is equal to what, for every autoencoder class")
    check.add_argument("names", nargs="*", metavar="class", help="names of the census; none for all")
    check.add_argument("--dtype", nargs="+", default=["float32"], choices=["float32", "float64", "bfloat16"])
    check.add_argument("--json", type=Path, help="file for all checks, with the reasons of refusals")
    check.set_defaults(run=_parity)
    return parser


def _parity(options: argparse.Namespace) -> int:
    for name in options.names:
        specimen(name)
    table = parity.parity(options.names, options.dtype)
    print(parity.as_text(table))
    if options.json:
        table.to_json(options.json, orient="records", indent=2)
    return 0


def _bench(options: argparse.Namespace) -> int:
    measure, as_text = BENCHES[options.what]
    result = measure(options.turns, options.device, **_further(options))
    print(as_text(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 0


def _further(options: argparse.Namespace) -> dict[str, Any]:
    """What only one of the benchmarks takes."""
    given = {"full": options.full or None, "mode": options.mode, "block": options.block}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        only = "models" if name == "full" else "stages"
        if options.what != only:
            flag = options.mode if name == "mode" else name
            raise PlanError(f"--{flag} with bench {options.what}: it is for bench {only} only.")
    return given
