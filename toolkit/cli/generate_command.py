"""``generate``: run a diffusers pipeline with its transformers in stages over ranks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

import torch

from toolkit import distributed
from toolkit.cli.autoencoder import DTYPES
from toolkit.cli.decode_command import add_out, add_ranks, check_out, ranks_of
from toolkit.cli.values import count, finite
from toolkit.cluster import Cluster
from toolkit.distributed.comm.launched import launched_group, launched_rank, launched_ranks
from toolkit.errors import PlanError
from toolkit.geometry import Schedule, StagePlan, StageSplit
from toolkit.models import demo
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.pipeline_parts import experts_of
from toolkit.models.transformers.stage_pipeline import hollow_parts
from toolkit.runs.picture import as_sample
from toolkit.runs.sample_file import write_sample

KINDS = ("interleaved", "looped", "sequential")
ARGUMENTS = {"prompt": "prompt", "negative": "negative_prompt", "steps": "num_inference_steps", "height": "height",
             "width": "width", "frames": "num_frames", "guidance": "guidance_scale"}  # fmt: skip
"""Options, and the names of the matching arguments of diffusers' pipelines."""


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    command.add_argument("--pipeline", required=True, help="folder written by save_pretrained, or demo")
    command.add_argument("--dtype", choices=sorted(DTYPES), help="dtype of the weights (default: as stored)")
    for name in ("prompt", "negative"):
        command.add_argument(f"--{name}", help=f"the pipeline's {ARGUMENTS[name]}")
    for name in ("steps", "height", "width", "frames"):
        command.add_argument(f"--{name}", type=count, help=f"the pipeline's {ARGUMENTS[name]}")
    command.add_argument("--guidance", type=finite, help="the pipeline's guidance_scale")
    command.add_argument("--seed", type=int, default=0, help="seed of the noise (default: %(default)s)")
    command.add_argument("--call", type=_arguments, default={}, help="more arguments of the pipeline's call, as JSON")
    command.add_argument(
        "--pickled",
        action="store_true",
        help="take weights from pickled files (.bin); needed for all parts that have no safetensors",
    )
    add_ranks(command)
    plan = command.add_argument_group("how to divide the work")
    plan.add_argument("--stages", type=count, help="ranks that share the layers (default: all remaining ranks)")
    plan.add_argument(
        "--schedule", choices=KINDS, default="interleaved", help="order of the work (default: %(default)s)"
    )
    plan.add_argument("--chunks", type=count, help="looped only: stages per rank (default: 2)")
    plan.add_argument(
        "--branches", type=count, default=2, help="guidance branches, 1 without guidance (default: %(default)s)"
    )
    for axis, shared in {"cfg": "guidance branches", "sp": "each sequence", "tp": "each layer's weights"}.items():
        plan.add_argument(f"--{axis}", type=count, default=1, help=f"ranks that share {shared} (default: 1)")
    plan.add_argument(
        "--experts", type=count, default=1, help="number of transformers with their own ranks (default: 1)"
    )
    plan.add_argument("--dry-run", action="store_true", help="print the plan, run nothing")
    add_out(command, "write the output to this .mp4 or .png, or latents to .safetensors")
    command.set_defaults(run=_run)


def stage_plan_from(options: argparse.Namespace, layers: int, *, ranks: int) -> StagePlan:
    """The stage plan given by the options.

    Raises:
        PlanError: If the options contradict each other or the number of ranks.
    """
    beside = options.cfg * options.sp * options.tp * options.experts
    stages = options.stages or ranks // beside
    if stages * beside != ranks:
        raise PlanError(
            f"{stages} stages times {beside} for cfg, sp, tp and experts must equal the {ranks} ranks: change --ranks "
            "or --stages."
        )
    if options.chunks is not None and options.schedule != "looped":
        raise PlanError(f"--chunks only applies to --schedule looped, not {options.schedule}: leave it out.")
    if options.branches % options.cfg:
        raise PlanError(f"--cfg {options.cfg}: must divide the number of branches, {options.branches}.")
    branches = options.branches // options.cfg
    if options.schedule == "looped":
        schedule = Schedule.looped(stages, branches, chunks=options.chunks or 2)
    else:
        schedule = getattr(Schedule, options.schedule)(stages, branches)
    split = StageSplit.even(layers, schedule.depth)
    return StagePlan(split, schedule, options.cfg, options.sp, options.tp, options.experts)


def _run(options: argparse.Namespace) -> int:
    ranks = ranks_of(options)
    load: dict[str, Any] = {"dtype": DTYPES[options.dtype]} if options.dtype else {}
    load |= {"use_safetensors": False} if options.pickled else {}
    if load and options.pipeline == "demo":
        raise PlanError("--dtype and --pickled apply only to a folder, not to the demo pipeline: leave them out.")
    if launched_ranks() is not None and not options.dry_run:
        return _under_launcher(options, load)
    if launched_rank() > 0:
        return 0
    pipe, plan = _prepared(options, ranks)
    if options.dry_run:
        print(f"{plan!r}\n{plan.schedule}")
        return 0
    with Cluster(ranks, options.device, timeout=options.timeout) as cluster:
        run = cluster.generate(pipe, plan, load=load or None, **_call(options))
    print(run.summary().to_string(float_format="{:.3f}".format))
    print(_kept(run.output, options))
    return 0


def _prepared(options: argparse.Namespace, ranks: int) -> tuple[Any, StagePlan]:
    """The pipeline, or its folder, and the plan; refuses what cannot be written in the end."""
    check_out(options)
    pipe = demo.pipeline() if options.pipeline == "demo" else options.pipeline
    return pipe, stage_plan_from(options, _layers(pipe), ranks=ranks)


def _under_launcher(options: argparse.Namespace, load: Mapping[str, Any]) -> int:
    with launched_group(options.device, options.timeout) as here:
        pipe, plan = _prepared(options, here.size)
        if isinstance(pipe, str):
            pipe = distributed.load(pipe, plan, device=here.device, **load)
        here.agree(f"{plan!r} with {plan.schedule}")
        result = distributed.generate(pipe, plan, **_call(options))
        if result is not None:
            print(f"rank {here.rank}, {plan.summary}: {_kept(result[0], options)}{here.where}")
    return 0


def _arguments(text: str) -> dict[str, Any]:
    """Arguments from a JSON object."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not valid JSON ({error}).") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f'{text!r}: give a JSON object of arguments, such as {{"max_length": 8}}.')
    return found


def _layers(pipe: Any) -> int:
    """The number of layers of the pipeline's transformers; one plan needs the same number in each."""
    names = list(experts_of(pipe))
    parts = hollow_parts(pipe, names) if isinstance(pipe, str) else {name: getattr(pipe, name) for name in names}
    counts = {name: len(layers_of(part)) for name, part in parts.items()}
    if len(set(counts.values())) > 1:
        raise PlanError(
            f"the transformers have different numbers of layers, {counts}, so one plan cannot split both: call "
            "tk.Cluster.generate with a plan for each."
        )
    return next(iter(counts.values()))


def _call(options: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(options, option) for option, name in ARGUMENTS.items()}
    given = {name: value for name, value in given.items() if value is not None} | options.call
    # Latents for a tensor file; else numpy pictures, which all pipelines return in the same layout.
    given["output_type"] = "latent" if options.out and options.out.suffix == ".safetensors" else "np"
    if options.pipeline == "demo":
        return demo.call(given.pop("prompt", "a red ball moves right"), options.seed, **given)
    return {**given, "generator": torch.Generator().manual_seed(options.seed)}


def _kept(output: Any, options: argparse.Namespace) -> str:
    """Write what the pipeline returned, and describe it."""
    output = as_sample(output)
    if options.out is None:
        return f"{'x'.join(map(str, output.shape))}, not written: give --out to keep it"
    return write_sample(output, options.out, fps=options.fps, what="--out ")
