"""``bench``: measure speed as ratios of paired runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from toolkit.bench import chosen_plans as plans
from toolkit.bench import fault_campaign as faults
from toolkit.bench import full_size_speed as models
from toolkit.bench import identification
from toolkit.bench import rehearsal_accuracy as rehearsals
from toolkit.bench import rehearsal_scale as scale
from toolkit.bench import shard_speed as shards
from toolkit.bench import stage_speed as stages
from toolkit.bench import tile_speed as tiles
from toolkit.cli.values import amount, count, output_file
from toolkit.errors import PlanError
from toolkit.runs.written import write

BENCHES: dict[str, tuple[Callable[..., dict[str, Any]], Callable[[dict[str, Any]], str]]] = {
    "tiles": (tiles.bench_tiles, tiles.as_text),
    "shards": (shards.bench_shards, shards.as_text),
    "stages": (stages.bench_stages, stages.as_text),
    "plan": (plans.bench_plan, plans.as_text),
    "rehearsal": (rehearsals.bench_rehearsal, rehearsals.as_text),
    "rehearsal-scale": (scale.bench_rehearsal_scale, scale.as_text),
    "faults": (faults.bench_faults, faults.as_text),
    "identification": (identification.bench_identification, identification.as_text),
    "models": (models.bench_models, models.as_text),
}

FITTING = {
    "full": ("models", "shards"),
    "mode": ("stages",),
    "block": ("stages",),
    "number": ("faults",),
    "seed": ("faults",),
}
"""The benchmarks to which an option applies, for those that do not apply to all."""


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    command.add_argument(
        "what",
        choices=sorted(BENCHES),
        help="tiles or shards: decode the demo video; stages: run the demo pipeline; models: decode with video "
        "autoencoders; plan: run every candidate of tk.plan; rehearsal: what rehearsals predict, beside runs; "
        "rehearsal-scale: their time and memory on up to 1024 ranks; faults: what becomes of runs that are broken; "
        "identification: what it costs to notice that a model has changed",
    )
    command.add_argument("--turns", type=count, default=5, help="measurements of each contender (default: %(default)s)")
    command.add_argument("--device", default="cpu", help="cpu, or a type of accelerator (default: %(default)s)")
    command.add_argument(
        "--full",
        action="store_true",
        help="models: real sizes, for an accelerator; shards: a model of real width, which takes minutes per turn",
    )
    modes = command.add_mutually_exclusive_group()
    modes.add_argument(
        "--emulate",
        dest="mode",
        action="store_const",
        const="emulate",
        help="stages: emulate one device per rank with blocks that mostly sleep (the default)",
    )
    modes.add_argument(
        "--compute", dest="mode", action="store_const", const="compute", help="stages: real computation on two ranks"
    )
    command.add_argument("--block", type=amount, help="stages: seconds per emulated block")
    command.add_argument("--number", type=count, help="faults: how many, instead of --turns of each kind")
    command.add_argument("--seed", type=int, help="faults: decides what is struck, and when (default: 0)")
    command.add_argument("--json", type=output_file(), help="write the result and its record to this file")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    measure, as_text = BENCHES[options.what]
    result = measure(options.turns, options.device, **_further(options))
    print(as_text(result))
    if options.json:
        write(options.json, json.dumps(result, indent=2))
    return 0


def _further(options: argparse.Namespace) -> dict[str, Any]:
    """The options that only some benchmarks take."""
    given = {name: getattr(options, name) or None for name in FITTING}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if options.what not in FITTING[name]:
            flag, fitting = options.mode if name == "mode" else name, " and ".join(FITTING[name])
            raise PlanError(f"--{flag} does not apply to bench {options.what}, only to bench {fitting}: leave it out.")
    return given
