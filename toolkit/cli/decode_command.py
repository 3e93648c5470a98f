"""``decode``, whose options ``encode`` has, too: call an autoencoder on ranks spawned here or started by torchrun."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from toolkit import distributed
from toolkit.cli.autoencoder import add_autoencoder, autoencoder_from
from toolkit.cli.files import read_sample, read_tensor
from toolkit.cli.plans import add_plan_options, plan_from
from toolkit.cli.values import amount, count, output_file, output_folder
from toolkit.cluster import Cluster
from toolkit.distributed.comm.launched import TIMEOUT, launched_group, launched_rank, launched_ranks
from toolkit.distributed.modes import fit
from toolkit.errors import PlanError
from toolkit.geometry.plan import Plan, or_whole
from toolkit.models import demo
from toolkit.models.autoencoders.checkpoint import DEMOS
from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.options import Options
from toolkit.numerics.checksum import checksum
from toolkit.runs.run import Run
from toolkit.runs.sample_file import ENDINGS, check_shape, check_video, write_sample
from toolkit.runs.written import check_writable

DEVICE_HELP = "cpu, or a type of accelerator (default: the accelerator, if there is one)"


SOURCES = {
    "decode": ("--latent", "latent for vae.decode, as FILE.safetensors[:name], or demo"),
    "encode": ("--sample", "sample in -1..1, as FILE.safetensors[:name], a picture or .mp4, or demo"),
}
"""What each of the two commands reads."""


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the options of ``decode`` to its parser."""
    add_direction(command, "decode")


def add_direction(command: argparse.ArgumentParser, direction: DirectionName) -> None:
    """Add the options of ``decode`` or ``encode`` to its parser."""
    what, hint = SOURCES[direction]
    add_autoencoder(command)
    command.add_argument(what, dest="source", required=True, help=hint)
    add_ranks(command)
    add_plan_options(command)
    command.add_argument("--dry-run", action="store_true", help="print the plan, run nothing")
    add_out(command, "write the output to this .safetensors, .png or .mp4 file")
    command.add_argument(
        "--trace", type=output_folder, help="write trace, memory and record to this folder (not under torchrun)"
    )
    command.set_defaults(run=partial(_run, direction))


def add_ranks(command: argparse.ArgumentParser) -> None:
    """Add the options that say where to run."""
    command.add_argument("--ranks", type=count, help="number of processes (default: 1, or as many as torchrun started)")
    command.add_argument("--device", help=DEVICE_HELP)
    command.add_argument(
        "--timeout",
        type=amount,
        default=TIMEOUT,
        help="seconds that ranks wait for each other before they give up (default: %(default)g)",
    )
    command.set_defaults(everywhere=True)


def add_out(command: argparse.ArgumentParser, hint: str) -> None:
    """Add the options that say where the output goes."""
    command.add_argument("--out", type=output_file(ENDINGS), help=hint)
    command.add_argument("--fps", type=amount, default=16, help="frames per second of an .mp4 (default: %(default)s)")


def check_out(options: argparse.Namespace) -> None:
    """Refuse a file that cannot be written. Only rank 0 writes one: other hosts need not even have its folder."""
    if options.out is None or launched_rank() > 0:
        return
    check_writable(options.out, "--out ")
    check_video(options.out, options.fps, "--out ")


def ranks_of(options: argparse.Namespace) -> int:
    """The number of ranks.

    Raises:
        PlanError: If the option and the launcher disagree.
    """
    started = launched_ranks()
    if started is not None and options.ranks not in (None, started):
        raise PlanError(f"--ranks {options.ranks}: torchrun started {started} processes; leave --ranks out.")
    return int(started or options.ranks or 1)


def _run(direction: DirectionName, options: argparse.Namespace) -> int:
    ranks = ranks_of(options)
    if launched_ranks() is not None and not options.dry_run:
        return _under_launcher(direction, options)
    if launched_rank() > 0:
        return 0
    vae, x, plan = _prepared(direction, options, ranks)
    print(f"{direction} {'x'.join(map(str, x.shape))}: {_said(plan)}")
    if options.dry_run:
        return 0
    with Cluster(ranks, options.device, timeout=options.timeout) as cluster:
        run: Run = getattr(cluster, direction)(vae, x, plan)
    print(run.summary().to_string(float_format="{:.3f}".format))
    if options.trace:
        print(f"wrote trace, memory and record to {run.to_parquet(options.trace)}")
    if options.out:
        print(write_sample(run.output, options.out, fps=options.fps, what="--out "))
    return 0


def _prepared(direction: DirectionName, options: argparse.Namespace, ranks: int) -> tuple[Any, Tensor, Any]:
    """The model, its input and the plan; refuses what cannot be written in the end."""
    check_out(options)
    vae = autoencoder_from(options)
    x = _input(direction, options).to(next(vae.parameters()).dtype)
    plan = plan_from(options, vae, x=x, direction=direction, ranks=ranks)
    # The model's own call does not say the shape of its output before it has run.
    known = fit(vae, tuple(x.shape), plan=or_whole(plan), call=ModelCall(Direction(direction), Options())).shape
    if known:
        check_shape(options.out, known, "--out ")
    return vae, x, plan


def _input(direction: DirectionName, options: argparse.Namespace) -> Tensor:
    if direction == "decode":
        return decoder_input(options)
    return read_sample(options.source) if options.source != "demo" else _of_demo(options, demo.image, video=demo.video)


def decoder_input(options: argparse.Namespace) -> Tensor:
    """The latent named by the options."""
    if options.source != "demo":
        return read_tensor(options.source)
    return _of_demo(options, partial(demo.latents, "image"), video=partial(demo.latents, "video"))


def _of_demo(options: argparse.Namespace, picture: Callable[[], Tensor], *, video: Callable[[], Tensor]) -> Tensor:
    if options.vae not in DEMOS:
        raise PlanError(f"the demo input only fits {' and '.join(DEMOS)}, not {options.vae}: give a file as input.")
    return picture() if options.vae == "demo-image" else video()


def _under_launcher(direction: DirectionName, options: argparse.Namespace) -> int:
    if options.trace:
        raise PlanError("--trace is not available under torchrun: use --ranks instead of torchrun, or leave it out.")
    with launched_group(options.device, options.timeout) as here, torch.no_grad():
        vae, x, plan = _prepared(direction, options, here.size)
        here.agree(_summed_up(vae, x, plan))
        vae = vae.to(here.device)
        output = getattr(distributed, direction)(vae, x, plan)
        if output is not None:
            kept: object = tuple(output.shape)
            if options.out:
                kept = write_sample(output.cpu(), options.out, fps=options.fps, what="--out ")
            print(f"rank {here.rank}, {_said(plan)}: {kept}{here.where}")
    return 0


def _summed_up(vae: Any, x: Tensor, plan: Any) -> str:
    """What a rank is about to do, in words that differ if another host has other files."""
    weights = checksum(torch.tensor([checksum(tensor) >> 65 for tensor in vae.state_dict().values()]))
    shape = "x".join(map(str, x.shape))
    return f"{or_whole(plan)!r}, {shape} {x.dtype} (checksum {checksum(x):x}) and weights with checksum {weights:x}"


def _said(plan: Plan | None) -> str:
    return or_whole(plan).summary
