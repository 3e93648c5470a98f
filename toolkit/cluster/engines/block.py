"""Blocks: bytes that processes of one machine share, reachable by nobody who was not handed them."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path

import torch

from toolkit.errors import ToolkitError

MEMORY = Path("/proc/meminfo")


class Block:
    """Shared memory without a name: who holds the descriptor can map it, and nobody else can find it.

    The memory is returned when the last process has dropped its block and the tensors that are views of it.

    Args:
        descriptor: An open descriptor of the memory; the block closes it.
        nbytes: Size of the memory.

    Raises:
        ToolkitError: If the memory cannot be mapped.

    Attributes:
        descriptor: The descriptor, for as long as the block lives.
        tensor: The bytes, one-dimensional uint8. It may outlive the block.

    Example:
        >>> block = Block.of_size(3)
        >>> block.tensor.fill_(7)
        tensor([7, 7, 7], dtype=torch.uint8)
    """

    def __init__(self, descriptor: int, nbytes: int) -> None:
        self.descriptor, self.nbytes = descriptor, nbytes
        # The mapping needs no descriptor once it is made: a tensor that a user keeps costs none.
        weakref.finalize(self, os.close, descriptor).atexit = False
        try:
            path = f"/dev/fd/{descriptor}"
            self.tensor = torch.from_file(path, shared=True, size=max(nbytes, 1), dtype=torch.uint8)[:nbytes]
        except RuntimeError as error:
            raise _refusal(nbytes, error) from error

    @classmethod
    def of_size(cls, nbytes: int) -> Block:
        """A new block.

        Raises:
            ToolkitError: If the machine has too little memory or too few file descriptors for it.
        """
        available = available_memory()
        if available is not None and nbytes > available:
            raise ToolkitError(
                f"{nbytes / 1e6:.0f} MB of shared memory are not available: the machine has {available / 1e6:.0f} MB "
                "to spare. Free some, or use a smaller input."
            )
        try:
            descriptor = _nameless_file()
        except OSError as error:
            raise _refusal(nbytes, error) from error
        os.ftruncate(descriptor, max(nbytes, 1))
        return cls(descriptor, nbytes)


def available_memory() -> int | None:
    """Bytes that processes could still take without swapping; None where the system does not say."""
    try:
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _refusal(nbytes: int, error: Exception) -> ToolkitError:
    return ToolkitError(
        f"{nbytes / 1e6:.0f} MB of shared memory could not be had ({error}): raise the limit that it names, such as "
        "that of open files, `ulimit -n`, or keep fewer clusters and runs."
    )


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("toolkit", os.MFD_CLOEXEC)
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    return descriptor
