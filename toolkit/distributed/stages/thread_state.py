"""What torch keeps per thread: a pipeline that runs on another thread must find it as it was where it was called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch.overrides import TorchFunctionMode

from toolkit.numerics.tensor_compat import DispatchMode, dispatch_modes, function_modes


@dataclass(frozen=True, slots=True)
class ThreadState:
    """The settings of one thread.

    Attributes:
        threads: Number of CPU threads; it decides the last bits of some kernels.
        modes: The torch function modes that are on.
        dispatch: The torch dispatch modes that are on.
        gradients: Whether gradients are recorded.
        autocast: For each type of device: whether autocast is on, and its dtype.
        device: The index of the current accelerator; None where there is none.
    """

    threads: int
    modes: tuple[TorchFunctionMode, ...]
    dispatch: tuple[DispatchMode, ...]
    gradients: bool
    autocast: tuple[tuple[str, bool, torch.dtype], ...]
    device: int | None

    @classmethod
    def current(cls) -> ThreadState:
        """The settings of the calling thread.

        Example:
            >>> with torch.autocast("cpu", torch.bfloat16):
            ...     ThreadState.current().autocast[0]
            ('cpu', True, torch.bfloat16)
        """
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        kinds = ["cpu", *([accelerator.type] if accelerator else [])]
        return cls(
            threads=torch.get_num_threads(),
            modes=tuple(function_modes()),
            dispatch=tuple(dispatch_modes()),
            gradients=torch.is_grad_enabled(),
            autocast=tuple((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds),
            device=torch.accelerator.current_device_index() if accelerator else None,
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Apply the settings to the calling thread, which must be a new one: the thread count stays."""
        torch.set_num_threads(self.threads)
        if self.device is not None:
            torch.accelerator.set_device_index(self.device)
        with ExitStack() as stack:
            for dispatch in self.dispatch:
                stack.enter_context(dispatch)
            for mode in self.modes:
                stack.enter_context(mode)
            stack.enter_context(torch.set_grad_enabled(self.gradients))
            for kind, on, dtype in self.autocast:
                stack.enter_context(torch.autocast(kind, dtype, enabled=on))
            yield
