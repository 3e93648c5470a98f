"""``report``: a decode over ranks against the model's own call, as one HTML file or Markdown."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.cli.decode_command import DTYPES, decoder_input
from toolkit.cli.plans import add_plan_options, plan_of
from toolkit.cluster import Cluster
from toolkit.distributed.comm.launched import launched_ranks
from toolkit.errors import PlanError
from toolkit.models.autoencoders.checkpoint import DEMOS, load_vae
from toolkit.runs.run import Run

WARM = "Each call was made once before the one that was measured."


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    command = commands.add_parser("report", help="time, memory, errors and pictures of a decode over ranks, for review")
    command.add_argument(
        "--vae",
        default="demo-video",
        help=f"a folder, a pipeline's folder, a file, or {', '.join(DEMOS)} (default: %(default)s)",
    )
    command.add_argument("--class", dest="name", help="of a single file: the class in diffusers")
    command.add_argument("--config", type=Path, help="of a single file: the folder with its config.json")
    command.add_argument("--dtype", choices=sorted(DTYPES), help="of weights and input (default: as the weights are)")
    command.add_argument(
        "--latent",
        dest="source",
        default="demo",
        help="a latent as vae.decode takes it, in FILE.safetensors[:name] (default: the demo's own)",
    )
    command.add_argument(
        "--ranks",
        type=int,
        nargs="+",
        default=[1, 2],
        help="numbers of ranks; 1: the model's own call (default: 1 2)",
    )
    command.add_argument("--device", help="cpu, or an accelerator's type (default: the accelerator where there is one)")
    add_plan_options(command)
    command.add_argument("--html", type=Path, help="file for the page (default without --markdown: report.html)")
    command.add_argument("--markdown", type=Path, help="file for the Markdown; its pictures go into a folder beside it")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """The model's own call is the reference, whether 1 is among the ranks or not."""
    if launched_ranks() is not None:
        raise PlanError("report under torchrun: it starts its ranks itself; run it as python -m toolkit report.")
    html = options.html if options.html or options.markdown else Path("report.html")
    for path in (html, options.markdown):
        if path is not None and not path.absolute().parent.is_dir():
            raise PlanError(f"{path}: there is no such folder; make it first.")
    vae = load_vae(options.vae, DTYPES.get(options.dtype or ""), name=options.name, config=options.config)
    latent = decoder_input(options).to(next(vae.parameters()).dtype)
    plans = [plan_of(options, vae, latent, "decode", ranks) for ranks in _several(options.ranks)]
    plans = [plan for plan in plans if plan is not None]
    for plan in plans:
        print(f"decode {'x'.join(map(str, latent.shape))}: {plan.summary}")
    if not plans:
        raise PlanError("nothing is divided, so there is nothing to report on: say --tile, --own-tiles or --shards.")
    if options.dry_run:
        return 0
    with Cluster(max(plan.ranks for plan in plans), options.device) as cluster:
        whole = _warm(cluster, vae, latent, None)
        runs = [_warm(cluster, vae, latent, plan) for plan in plans]
    # Only this command needs what draws.
    made = import_module("toolkit.evidence").report(runs, whole, notes=[WARM])
    print(made.to_dataframe().to_string(index=False, float_format="{:.4g}".format))
    for sentence in made.cautions:
        print(f"caution: {sentence}")
    if html is not None:
        print(f"page in {made.to_html(html)}")
    if options.markdown is not None:
        made.to_markdown(options.markdown)
        print(f"Markdown in {options.markdown}")
    return 0


def _several(ranks: list[int]) -> list[int]:
    if min(ranks) < 1:
        raise PlanError(f"--ranks {' '.join(map(str, ranks))}: must be numbers of at least 1.")
    return [count for count in dict.fromkeys(ranks) if count > 1]


def _warm(cluster: Cluster, vae: Any, latent: Any, plan: Any) -> Run:
    """A run after one that is thrown away: the first ships the model and lets libraries choose their kernels."""
    cluster.decode(vae, latent, plan, progress=False, memory=False)
    return cluster.decode(vae, latent, plan)
