"""``generate``: a diffusers pipeline whose transformers lie in stages over ranks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from toolkit import distributed
from toolkit.cli.decode_command import DTYPES, add_ranks, ranks_of
from toolkit.cli.files import check_ending, write_sample
from toolkit.cluster import Cluster
from toolkit.distributed.comm.launched import launched_group, launched_ranks
from toolkit.errors import PlanError
from toolkit.geometry import Schedule, StagePlan, StageSplit
from toolkit.models import demo
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.pipeline_parts import experts_of
from toolkit.models.transformers.stage_pipeline import hollow_parts

KINDS = ("interleaved", "looped", "sequential")
ARGUMENTS = {"prompt": "prompt", "negative": "negative_prompt", "steps": "num_inference_steps", "height": "height",
             "width": "width", "frames": "num_frames", "guidance": "guidance_scale"}  # fmt: skip
"""Options, and what the pipelines of diffusers call them."""


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    command = commands.add_parser("generate", help="call a pipeline, its transformers in stages over several ranks")
    command.add_argument("--pipeline", required=True, help="the folder that save_pretrained wrote, or demo")
    command.add_argument("--dtype", choices=sorted(DTYPES), help="of the weights (default: as they are)")
    for name in ("prompt", "negative"):
        command.add_argument(f"--{name}", help=f"the pipeline's {ARGUMENTS[name]}")
    for name in ("steps", "height", "width", "frames"):
        command.add_argument(f"--{name}", type=int, help=f"the pipeline's {ARGUMENTS[name]}")
    command.add_argument("--guidance", type=float, help="the pipeline's guidance_scale")
    command.add_argument("--seed", type=int, default=0, help="of the noise (default: %(default)s)")
    command.add_argument("--call", type=json.loads, default={}, help="further arguments of the call, as JSON")
    add_ranks(command)
    plan = command.add_argument_group("how it is divided")
    plan.add_argument("--stages", type=int, help="ranks that share the layers (default: all that are left)")
    plan.add_argument("--schedule", choices=KINDS, default="interleaved", help="(default: %(default)s)")
    plan.add_argument("--chunks", type=int, help="looped: stages a rank (default: 2)")
    plan.add_argument("--branches", type=int, default=2, help="of guidance (default: %(default)s; 1 for none)")
    for axis, told in {"cfg": "guidance branches", "sp": "each sequence", "tp": "each layer's weights"}.items():
        plan.add_argument(f"--{axis}", type=int, default=1, help=f"ranks that share {told} (default: 1)")
    plan.add_argument("--experts", type=int, default=1, help="groups of ranks for as many transformers (default: 1)")
    plan.add_argument("--dry-run", action="store_true", help="print the plan and run nothing")
    command.add_argument("--out", type=Path, help=".mp4, .png, or .safetensors: the latents")
    command.add_argument("--fps", type=float, default=16, help="of an .mp4 (default: %(default)s)")
    command.set_defaults(run=_run)


def plan_of(options: argparse.Namespace, layers: int, ranks: int) -> StagePlan:
    """The plan that the options say.

    Raises:
        PlanError: where they do not go together, or not with the ranks.
    """
    beside = options.cfg * options.sp * options.tp * options.experts
    stages = options.stages or ranks // beside
    if stages * beside != ranks:
        raise PlanError(
            f"{stages} stages, times {beside} for cfg, sp, tp and experts, on {ranks} ranks: the product "
            "must be the ranks. Change --ranks or --stages."
        )
    if options.chunks is not None and options.schedule != "looped":
        raise PlanError(f"--chunks with --schedule {options.schedule}: it is for looped only.")
    if options.branches % options.cfg:
        raise PlanError(f"--cfg {options.cfg}: must divide the {options.branches} branches.")
    branches = options.branches // options.cfg
    if options.schedule == "looped":
        schedule = Schedule.looped(stages, branches, chunks=options.chunks or 2)
    else:
        schedule = getattr(Schedule, options.schedule)(stages, branches)
    split = StageSplit.even(layers, schedule.depth)
    return StagePlan(split, schedule, options.cfg, options.sp, options.tp, options.experts)


def _run(options: argparse.Namespace) -> int:
    check_ending(options.out)
    ranks = ranks_of(options)
    pipe = demo.pipeline() if options.pipeline == "demo" else options.pipeline
    plan = plan_of(options, _layers(pipe), ranks)
    if options.dry_run:
        print(f"{plan!r}\n{plan.schedule}")
        return 0
    call = _call(options)
    load: dict[str, Any] = {"dtype": DTYPES[options.dtype]} if options.dtype else {}
    if launched_ranks() is not None:
        with launched_group(options.device) as (rank, device):
            if isinstance(pipe, str):
                pipe = distributed.load(pipe, plan, device=device, **load)
            result = distributed.generate(pipe, plan, **call)
            if result is not None:
                print(f"rank {rank}, {plan.summary}: {_kept(result[0], options)}")
        return 0
    if load and not isinstance(pipe, str):
        raise PlanError("--dtype with the demo pipeline: it is for a folder; leave it out.")
    with Cluster(ranks, options.device) as cluster:
        run = cluster.generate(pipe, plan, load=load or None, **call)
    print(run.summary().to_string(float_format="{:.3f}".format))
    print(_kept(run.output, options))
    return 0


def _layers(pipe: Any) -> int:
    """Layers of a pipeline's transformers, which the plan cuts alike."""
    names = list(experts_of(pipe))
    parts = hollow_parts(pipe, names) if isinstance(pipe, str) else {name: getattr(pipe, name) for name in names}
    counts = {name: len(layers_of(part)) for name, part in parts.items()}
    if len(set(counts.values())) > 1:
        raise PlanError(f"transformers of {counts} layers: one plan cannot cut both; use tk.Cluster.generate.")
    return next(iter(counts.values()))


def _call(options: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(options, option) for option, name in ARGUMENTS.items()}
    given = {name: value for name, value in given.items() if value is not None} | options.call
    # Latents for a tensor's file; else pictures as numbers, of every pipeline in the same form.
    given["output_type"] = "latent" if options.out and options.out.suffix == ".safetensors" else "np"
    if options.pipeline == "demo":
        return demo.call(given.pop("prompt", "a red ball moves right"), options.seed, **given)
    return {**given, "generator": torch.Generator().manual_seed(options.seed)}


def _kept(output: Any, options: argparse.Namespace) -> str:
    """Write what the pipeline returned; says what it is."""
    if not isinstance(output, Tensor):
        frames = torch.as_tensor(output) * 2 - 1
        output = rearrange(frames, "b t h w c -> b c t h w" if frames.ndim == 5 else "b h w c -> b c h w")
    if options.out is None:
        return f"{'x'.join(map(str, output.shape))}, not kept: say --out"
    return write_sample(output, options.out, options.fps)
