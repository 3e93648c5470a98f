"""A real Jupyter kernel: Stop once and twice, restart, kill. No process is left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil
import pytest
from jupyter_client.manager import KernelManager

SETUP = """
import os, time, torch, torch.distributed as dist
import toolkit as tk
cluster = tk.Cluster(ranks=2, device="cpu", start="forkserver")
def defined_in_a_cell():
    return dist.get_rank() * SCALE
SCALE = 10
print("first", cluster.run(defined_in_a_cell), "pids", *cluster.pids)
"""
BUSY = """
def busy():
    print("busy")
    while True:
        torch.ones(300, 300) @ torch.ones(300, 300)
cluster.run(busy)
"""
UNLOADING = 15
"""Seconds for the server that forks the workers: it unloads torch first, in 1.5 s, or in several on a busy machine."""


class Kernel:
    """A kernel and what its cells print."""

    def __init__(self) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel()
        self.connect()

    def connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def submit(self, code: str) -> None:
        # By default Jupyter drops what was submitted while a cell that failed was still being reported.
        self.client.execute(code, stop_on_error=False)

    def until(self, word: str, timeout: float = 60) -> str:
        """What was printed, tracebacks included, up to ``word``."""
        text, deadline = "", time.monotonic() + timeout
        while word not in text:
            message = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            content = message["content"]
            text += content.get("text", "") + "\n".join(content.get("traceback", []))
        return text

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.manager.provisioner.pid).children(recursive=True)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    one = Kernel()
    yield one
    one.client.stop_channels()
    one.manager.shutdown_kernel(now=True)


def started(kernel: Kernel) -> list[psutil.Process]:
    kernel.submit(SETUP)
    text = kernel.until("pids")
    text = text if text.rstrip()[-1].isdigit() else text + kernel.until("\n")
    assert "first [0, 10]" in text
    return [psutil.Process(int(word)) for word in text.partition("pids")[2].split()]


def assert_gone(processes: list[psutil.Process], seconds: float = 5) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def test_stop_once_and_twice_then_restart_and_kill(kernel):
    """In one kernel, because each takes seconds to import what it needs."""
    workers = started(kernel)
    for presses in (1, 2):
        kernel.submit(BUSY)
        kernel.until("busy")
        for _ in range(presses):
            kernel.manager.interrupt_kernel()
            time.sleep(0.15)
        kernel.until("KeyboardInterrupt", timeout=10)
        assert_gone(workers)
        kernel.submit("print('again', *cluster.run(defined_in_a_cell), 'pids', *cluster.pids, 'end')")
        text = kernel.until(" end")
        assert "again 0 10 pids" in text
        workers = [psutil.Process(int(word)) for word in text.partition("pids")[2].split()[:-1]]
    everyone = workers + kernel.children()
    kernel.client.stop_channels()
    kernel.manager.restart_kernel(now=False)
    assert_gone(everyone, UNLOADING)
    kernel.connect()
    everyone = started(kernel) + kernel.children()
    kernel.submit(BUSY)
    kernel.until("busy")
    psutil.Process(kernel.manager.provisioner.pid).kill()
    assert_gone(everyone, UNLOADING)
