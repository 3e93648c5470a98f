"""``rehearse``: predict a decode or encode on any number of ranks, without data and without the ranks."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from toolkit.cli.autoencoder import add_autoencoder, autoencoder_from
from toolkit.cli.plans import add_plan_options, plan_from
from toolkit.cli.values import amount, count, finite, output_folder, sizes
from toolkit.errors import PlanError
from toolkit.geometry.topology import Link, Topology
from toolkit.models.autoencoders.direction import DirectionName
from toolkit.planning.rehearsing.profile import Profile
from toolkit.planning.rehearsing.rehearse import rehearse


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_autoencoder(command)
    command.add_argument("--shape", required=True, type=sizes, help="shape of the input, such as 1x16x21x90x160")
    command.add_argument("--encode", action="store_true", help="rehearse an encode, whose input is the sample")
    command.add_argument("--ranks", type=count, default=1, help="number of ranks, unless --shards says it (default: 1)")
    command.add_argument("--device", help="type of device that the ranks have (default: the profile's, or cpu)")
    command.add_argument("--profile", type=Path, help="what operators cost: a file that Profile.save has written")
    command.add_argument("--per-host", type=count, help="ranks on each host (default: all on one)")
    command.add_argument("--within", type=link, help="link within a host, such as 200GB/s,5us")
    command.add_argument("--between", type=link, help="link between hosts, such as 12.5GB/s,20us")
    command.add_argument("--trace", type=output_folder, help="write trace, memory and record to this folder")
    add_plan_options(command)
    command.set_defaults(run=_run)


def link(text: str) -> Link:
    """A link from its bandwidth and latency.

    Example:
        >>> link("12.5GB/s,20us")
        Link(bandwidth=12500000000.0, latency=2e-05)
    """
    bandwidth, _, latency = text.partition(",")
    if not bandwidth.endswith("GB/s") or (latency and not latency.endswith("us")):
        raise argparse.ArgumentTypeError(f"{text!r}: give GB/s and microseconds, such as 12.5GB/s,20us.")
    return Link(amount(bandwidth[:-4]) * 1e9, finite(latency[:-2]) / 1e6 if latency else 0.0)


def _run(options: argparse.Namespace) -> int:
    vae = autoencoder_from(options)
    direction: DirectionName = "encode" if options.encode else "decode"
    profile = None if options.profile is None else Profile.load(options.profile)
    x = torch.empty(options.shape, device="meta", dtype=next(vae.parameters()).dtype)
    among = _topology(options, options.shards.ranks if options.shards else options.ranks)
    plan = plan_from(options, vae, x=x, direction=direction, ranks=options.ranks, profile=profile, topology=among)
    rehearsal = rehearse(
        vae,
        options.shape,
        plan,
        profile=profile,
        topology=among,
        device=options.device,
        direction=direction,
    )
    print(rehearsal)
    summary = rehearsal.summary()
    if profile is None:
        # There are no times to show.
        summary = summary.drop(columns=["busy s", "wait s", "move s"])
    print(summary.to_string(float_format="{:.3f}".format))
    if len(rehearsal.messages):
        print(rehearsal.messages.to_string(index=False))
    if options.trace:
        print(f"wrote trace, memory and record to {rehearsal.to_parquet(options.trace)}")
    return 0


def _topology(options: argparse.Namespace, ranks: int) -> Topology | None:
    """The links, if any are given.

    Raises:
        PlanError: If only a part of them is.
    """
    if options.within is None:
        if options.between is not None or options.per_host is not None:
            raise PlanError("--between and --per-host without --within: give the link within a host, too.")
        return None
    per_host = options.per_host or ranks
    return Topology(-(-ranks // per_host), per_host, options.within, options.between)
