"""``report``: compare a decode on several ranks with the model's own call, as one HTML file or Markdown."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.cli.autoencoder import add_autoencoder, autoencoder_from
from toolkit.cli.decode_command import DEVICE_HELP, decoder_input
from toolkit.cli.plans import add_plan_options, plan_from
from toolkit.cli.values import count, output_file
from toolkit.cluster import Cluster
from toolkit.errors import PlanError
from toolkit.runs.run import Run
from toolkit.runs.written import check_writable

WARM = "Each call was made once as a warm-up before it was measured."


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_autoencoder(command, "demo-video")
    command.add_argument(
        "--latent",
        dest="source",
        default="demo",
        help="latent for vae.decode, as FILE.safetensors[:name] (default: the demo's own)",
    )
    command.add_argument(
        "--ranks",
        type=count,
        nargs="+",
        default=[1, 2],
        help="numbers of ranks to compare; 1 is the model's own call (default: 1 2)",
    )
    command.add_argument("--device", help=DEVICE_HELP)
    add_plan_options(command)
    command.add_argument("--dry-run", action="store_true", help="print the plan, run nothing")
    command.add_argument(
        "--html", type=output_file(), help="write the page to this file (default: report.html, if no --markdown)"
    )
    command.add_argument(
        "--markdown", type=output_file(), help="write Markdown to this file, with pictures in a folder beside it"
    )
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Make the report. The model's own call is always the reference, whether or not 1 is among the ranks."""
    html = options.html if options.html or options.markdown else Path("report.html")
    if html is not None:
        check_writable(html, "--html ")  # the default has not been looked at yet
    vae = autoencoder_from(options)
    latent = decoder_input(options).to(next(vae.parameters()).dtype)
    plans = [plan_from(options, vae, x=latent, direction="decode", ranks=ranks) for ranks in _several(options.ranks)]
    plans = [plan for plan in plans if plan is not None]
    for plan in plans:
        print(f"decode {'x'.join(map(str, latent.shape))}: {plan.summary}")
    if not plans:
        raise PlanError(
            "no plan divides the work, so there is nothing to compare: give --tile, --own-tiles or --shards."
        )
    if options.dry_run:
        return 0
    with Cluster(max(plan.ranks for plan in plans), options.device) as cluster:
        whole = _warm(cluster, vae, latent=latent, plan=None)
        runs = [_warm(cluster, vae, latent=latent, plan=plan) for plan in plans]
    # Imported here because only this command draws.
    made = import_module("toolkit.evidence").report(runs, whole, notes=[WARM])
    print(made.to_dataframe().to_string(index=False, float_format="{:.4g}".format))
    for sentence in made.cautions:
        print(f"caution: {sentence}")
    if html is not None:
        print(f"wrote the page to {made.to_html(html)}")
    if options.markdown is not None:
        made.to_markdown(options.markdown)
        print(f"wrote Markdown to {options.markdown}")
    return 0


def _several(ranks: list[int]) -> list[int]:
    return [count for count in dict.fromkeys(ranks) if count > 1]


def _warm(cluster: Cluster, vae: Any, *, latent: Any, plan: Any) -> Run:
    """A run after a discarded warm-up, which ships the model and lets libraries choose their kernels."""
    cluster.decode(vae, latent, plan, progress=False, memory=False)
    return cluster.decode(vae, latent, plan)
