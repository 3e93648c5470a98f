"""torchrun: the toolkit's commands on one host or on two, and scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import toolkit as tk
from support.netns import TwoHosts

LAUNCHER = ("-m", "torch.distributed.run")
PER_HOST = 2


def environment(**more: str) -> dict[str, str]:
    """What the ranks find in their environment: this checkout, its tests, and a thread each."""
    folders = [str(Path(tk.__file__).parents[1]), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(folders)
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **more}


def torchrun(*words: str, limit: float = 180.0, **options) -> subprocess.CompletedProcess[str]:
    """Run a script or a module on two ranks of this host, and wait for the end."""
    command = [sys.executable, *LAUNCHER, "--standalone", "--nproc-per-node", str(PER_HOST)]
    options = {"env": environment(), "capture_output": True, "text": True, **options}
    return subprocess.run([*command, *words], timeout=limit, **options)


def start_on(
    hosts: TwoHosts, host: int, *words: str, port: int, ranks: int = PER_HOST, **more: str
) -> subprocess.Popen:
    """Start a script or a module on one of two hosts.

    Args:
        hosts: The hosts. The first one has rank 0.
        host: Which of them.
        words: What to start.
        port: Where the ranks meet.
        ranks: Number of ranks on the host.
        more: Variables of the environment.
    """
    return hosts.python(
        host, *LAUNCHER, "--nnodes", "2", "--nproc-per-node", str(ranks), "--node-rank", str(host),
        "--master-addr", hosts.addresses[0], "--master-port", str(port), *words,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(**more),
    )  # fmt: skip
