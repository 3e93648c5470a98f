"""``doctor``: check what this machine has, and whether two ranks can work together on it."""

from __future__ import annotations

import argparse
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal, get_args

import torch
from packaging.requirements import Requirement

from toolkit.about import DISTRIBUTION, __version__, how_to_install
from toolkit.cli.decode_command import DEVICE_HELP
from toolkit.cluster import Cluster
from toolkit.errors import ToolkitError
from toolkit.geometry import ShardPlan
from toolkit.geometry.checks import check_choice
from toolkit.models import demo
from toolkit.runs.device import device_of_rank, processors
from toolkit.runs.precision import Precision

OPTIONAL = {
    "ipywidgets": ("tk.widgets", "widgets"),
    "anywidget": ("tk.widgets", "widgets"),
    "av": ("video files", "video"),
    "imageio": ("video files", "video"),
    "optuna": ("searches in tk.sweep", "optuna"),
    "jupyterlab": ("the notebooks", "notebook"),
}
SHARED = Path("/dev/shm")
State = Literal["ok", "missing", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        what: The thing checked.
        found: What was found.
        state: ``"ok"``, ``"missing"`` if something optional is absent, or ``"wrong"``.
        hint: What to do about it.
    """

    what: str
    found: str
    state: State = "ok"
    hint: str = ""

    def __post_init__(self) -> None:
        check_choice("state", self.state, choices=get_args(State))

    def __str__(self) -> str:
        return f"{self.state:8}{self.what:22}{self.found}" + (f"\n{'':30}{self.hint}" if self.hint else "")


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    command.add_argument("--device", help=DEVICE_HELP)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    wrong = False
    for finding in findings(options.device):
        print(finding, flush=True)
        wrong |= finding.state == "wrong"
    return int(wrong)


def findings(device: str | None = None) -> Iterator[Finding]:
    """All checks, one after the other."""
    yield Finding("python", platform.python_version())
    yield from required()
    yield from optional()
    yield from machine()
    yield from two_ranks(device)


def required() -> Iterator[Finding]:
    """The packages that the toolkit needs, and whether their versions fit."""
    try:
        wanted = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Finding(DISTRIBUTION, f"{__version__}, from its own folder: what it requires is not checked")
        return
    yield Finding(DISTRIBUTION, __version__)
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding(requirement.name, "not installed", "wrong", f"pip install '{requirement}'")
            continue
        right = requirement.specifier.contains(found, prereleases=True)
        yield Finding(requirement.name, found, *(() if right else ("wrong", f"pip install '{requirement}'")))


def optional() -> Iterator[Finding]:
    """The packages that only parts of the toolkit need."""
    for name, (needed, extra) in OPTIONAL.items():
        if util.find_spec(name):
            yield Finding(name, metadata.version(name))
        else:
            yield Finding(name, f"not installed; for {needed}", "missing", how_to_install(extra))


def machine() -> Iterator[Finding]:
    """Cores, shared memory and accelerators."""
    yield Finding("cores", f"{processors()}; torch uses {torch.get_num_threads()} threads by default")
    if SHARED.is_dir():
        free = shutil.disk_usage(SHARED).free / 1e9
        small = free < 1
        hint = "workers receive tensors through it; in a container, set --shm-size=8g" if small else ""
        yield Finding("shared memory", f"{free:.1f} GB free", "wrong" if small else "ok", hint)
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    count = torch.accelerator.device_count() if accelerator else 0
    yield Finding(
        "accelerators", f"{count} of type {accelerator.type}" if accelerator else "none; ranks are processes on the CPU"
    )


def two_ranks(device: str | None = None) -> Iterator[Finding]:
    """Start two ranks, let them decode a picture in exact shards, and stop them."""
    vae, latent = demo.image_vae(), demo.latents("image")[..., :16, :16]
    where = f"two ranks, {device_of_rank(0, device).type}"
    begin = time.monotonic()
    try:
        with Cluster(2, device, timeout=60.0) as cluster:
            cluster.run(int, timeout=120.0)
            started = time.monotonic()
            whole = cluster.decode(vae, latent, progress=False, memory=False).output
            halves = cluster.decode(vae, latent, ShardPlan(h=2), progress=False, memory=False).output
            decoded = time.monotonic()
            precision = cluster.run(Precision.of, latent.dtype, cluster.device.type)[0]
    except ToolkitError as error:
        first = str(error).splitlines()[0]
        yield Finding(where, "failed", "wrong", f"{type(error).__name__}: {first}")
        return
    ended = time.monotonic()
    off = float((whole - halves).abs().max() / whole.abs().max())
    took = f"start {started - begin:.1f} s, two decodes {decoded - started:.1f} s, stop {ended - decoded:.1f} s"
    close = off <= precision.rounding
    yield Finding(where, took)
    hint = "" if close else "two ranks compute different values than one rank: compare versions and devices"
    seen = f"differ by {off:.1e} of the largest value; {precision.name} rounds by up to {precision.rounding:.0e}"
    yield Finding("shards against whole", seen, "ok" if close else "wrong", hint)
