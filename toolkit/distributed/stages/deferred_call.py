"""A deferred call of a staged transformer: from the moment a pipeline makes it until its result is on every rank.

A call is made, waits, and runs later, often inside another torch function that first looked at a result. So it
remembers everything that could make it compute something else by then: autocast, the function modes that were on, and
how often each of its arguments had been written to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.stages.deferred import settled
from toolkit.distributed.stages.signature import digest, signature
from toolkit.errors import NotExact
from toolkit.numerics.tensor_compat import function_modes, tree_leaves, version_of
from toolkit.runs.trace import NONE, Label


@dataclass(eq=False)
class DeferredCall:
    """The arguments of a transformer's call, and what has become of the call on this rank.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
        index: Number of calls that the request has made before, of any transformer.
        branch: The guidance branch, counted over the requests.
        step: The step of the request's loop.
        read: Reads a number that only proves that ranks agree.
        payload: What this rank's last chunk returned, if the next chunk is on the same rank.
        result: The output, once ``done``.
        done: Whether the result is on this rank.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    index: int
    branch: int
    step: int
    read: Callable[[Tensor], int] = int
    payload: Any = None
    result: Any = None
    done: bool = False
    _versions: list[int] = field(init=False)
    _autocast: dict[str, tuple[bool, torch.dtype]] = field(init=False)
    _modes: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        # An argument may be the result of an earlier call that is still deferred: run that one first.
        self.args, self.kwargs = settled((self.args, dict(self.kwargs)))
        self._versions = self._written()
        self._autocast = {
            kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in self._devices()
        }
        self._modes = function_modes()

    @cached_property
    def key(self) -> str:
        """The form of the arguments: see :func:`~toolkit.distributed.stages.signature.signature`."""
        return signature((self.args, self.kwargs))

    def form(self, chunk: int | None = None) -> str:
        """The key of the messages to one chunk (None: of the result), for :class:`~.link.Link`.

        A link remembers the last form under each key. Branches get keys of their own, because some models cut their
        text to what its mask keeps, so the forms differ from branch to branch, but rarely from step to step.
        """
        return f"{'' if chunk is None else chunk}F{self.branch} {self.key}"

    @cached_property
    def digest(self) -> int:
        """Identifies the values of the arguments: see :func:`~toolkit.distributed.stages.signature.digest`."""
        return digest((self.args, self.kwargs), self.read)

    def label(self, chunk: int = NONE, expert: str = "") -> Label:
        """The label of the call in traces: ``2F0 step 3``, or ``F0 step 3`` for its result."""
        return Label(chunk=chunk, branch=self.branch, step=self.step, expert=expert)

    @contextmanager
    def context(self) -> Iterator[None]:
        """Restore the autocast and function modes under which the call was made, without gradients.

        Raises:
            NotExact: If an argument was written to since the call was made.
        """
        self._check_unwritten()
        around = function_modes()
        with ExitStack() as stack:
            # While torch runs a mode's __torch_function__, that mode is off. A deferred call may run inside one (the
            # function that first looks at the result), so modes that are off now but were on then are entered again.
            for mode in self._modes:
                if not any(mode is other for other in around):
                    stack.enter_context(mode)
            stack.enter_context(torch.no_grad())
            for kind, (on, dtype) in self._autocast.items():
                stack.enter_context(torch.autocast(kind, dtype, on))
            yield

    def complete(self, result: Any) -> None:
        """Store the result, and drop the arguments, which are not needed any more."""
        self.result, self.done = result, True
        self.args, self.kwargs, self.payload = (), {}, None

    def _tensors(self) -> list[Tensor]:
        return [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]

    def _devices(self) -> set[str]:
        # Nothing is computed on meta, so it has no autocast.
        return {tensor.device.type for tensor in self._tensors()} - {"meta"}

    def _written(self) -> list[int]:
        return [version_of(tensor) for tensor in self._tensors()]

    def _check_unwritten(self) -> None:
        if self._written() != self._versions:
            raise NotExact(
                "an input of the transformer was written to between its call and the first look at its result, and "
                "only then does a deferred call run: use Schedule.sequential for this pipeline."
            )
