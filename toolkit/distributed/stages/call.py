"""One call of a staged transformer, from the moment it is made until its result is on every rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.overrides import _get_current_function_mode_stack
from torch.utils import _pytree as pytree

from toolkit.distributed.stages.deferred import settled
from toolkit.distributed.stages.signature import digest, signature
from toolkit.errors import NotExact
from toolkit.runs.trace import NONE, Label


@dataclass(eq=False)
class Call:
    """What a transformer was called with, and what has become of it on this rank.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments.
        index: how many calls its request has made before, of any transformer.
        branch: which guidance branch it is, counted through the requests.
        step: which step of its request's loop.
        payload: what this rank's last chunk returned, where the next chunk is on the same rank.
        result: the output, once ``done``.
        done: whether the result is here.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    index: int
    branch: int
    step: int
    payload: Any = None
    result: Any = None
    done: bool = False
    _versions: list[int] = field(init=False)
    _autocast: dict[str, tuple[bool, torch.dtype]] = field(init=False)
    _modes: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.args, self.kwargs = settled((self.args, dict(self.kwargs)))
        self._versions = self._written()
        self._autocast = {
            kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in self._devices()
        }
        self._modes = _get_current_function_mode_stack()

    @cached_property
    def key(self) -> str:
        """Its form: see :func:`~toolkit.distributed.stages.signature.signature`."""
        return signature((self.args, self.kwargs))

    def form(self, chunk: int | None = None) -> str:
        """A key for its messages: those of a branch have the same form from step to step, as a rule.

        Some models cut text to what its mask keeps, which differs from branch to branch.
        """
        return f"{'' if chunk is None else chunk}F{self.branch} {self.key}"

    @cached_property
    def digest(self) -> int:
        """Tells its inputs from others: see :func:`~toolkit.distributed.stages.signature.digest`."""
        return digest((self.args, self.kwargs))

    def label(self, chunk: int = NONE, expert: str = "") -> Label:
        """What traces say of it: ``2F0 step 3``, or ``F0 step 3`` of its result."""
        return Label(chunk=chunk, branch=self.branch, step=self.step, expert=expert)

    @contextmanager
    def context(self) -> Iterator[None]:
        """The circumstances under which it was made: without gradients, autocast and function modes as they were."""
        self._check_unwritten()
        around = _get_current_function_mode_stack()
        with ExitStack() as stack:
            # A deferred call runs within the function that first looks at its result, for which torch has left a mode.
            for mode in self._modes:
                if not any(mode is other for other in around):
                    stack.enter_context(mode)
            stack.enter_context(torch.no_grad())
            for kind, (on, dtype) in self._autocast.items():
                stack.enter_context(torch.autocast(kind, dtype, on))
            yield

    def finish(self, result: Any) -> None:
        """Take the result; what it was called with is not needed any more."""
        self.result, self.done = result, True
        self.args, self.kwargs, self.payload = (), {}, None

    def _tensors(self) -> list[Tensor]:
        return [leaf for leaf in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]

    def _devices(self) -> set[str]:
        return {tensor.device.type for tensor in self._tensors()}

    def _written(self) -> list[int]:
        return [0 if tensor.is_inference() else tensor._version for tensor in self._tensors()]

    def _check_unwritten(self) -> None:
        if self._written() != self._versions:
            raise NotExact(
                "an input of the transformer was written to between its call and the first look at its result, before "
                "which a deferred call does not run: use Schedule.sequential for this pipeline."
            )
