"""What operators return on tensors without data, remembered: a model calls the same ones again and again.

torch takes about 100 microseconds to work out what an operator returns. For every tile, layer, step, request and rank,
a model calls the same operators on tensors of the same form. So only the first call of a form asks torch. Later results
are put together from what is known of the first: which of them are arguments, which are views of arguments, and which
have memory of their own.

What a tensor without data is made of is private to torch.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from toolkit.planning.rehearsing.fake_tensors_compat import call_operator, fake_tensor, storage_bytes
from toolkit.planning.rehearsing.operator_call import OperatorCall, computes, key_of, tensors_in

_PLAIN = (bool, int, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)
"""Types of arguments that are compared by value."""

NEW = -1
"""The source of a result that has memory of its own."""


class _Result(NamedTuple):
    """A tensor that an operator returns.

    Attributes:
        source: Which of the tensors among the arguments it shares memory with; ``NEW``: none.
        itself: Whether it is that argument.
        offset: Where it begins, counted from where its source begins.
        shape: Its shape.
        stride: Its strides.
        dtype: Its dtype.
        device: The device that it claims to be on.
    """

    source: int
    itself: bool
    offset: int
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, slots=True)
class Answer:
    """An operator that has been called on arguments of one form.

    Attributes:
        key: The call as text, the key of ``Script.operators``; empty if it takes no time.
        call: The call; None if it takes no time.
        results: What it returns; None if torch must be asked every time.
        collection: ``list`` or ``tuple`` if it returns several values; None if it returns one.
    """

    key: str
    call: OperatorCall | None
    results: tuple[Any, ...] | None = None
    collection: type | None = None

    @property
    def new(self) -> list[int]:
        """The places of the results that have memory of their own."""
        found = enumerate(self.results or ())
        return [place for place, one in found if isinstance(one, _Result) and one.source == NEW]

    @classmethod
    def once(cls, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Answer:
        """Describe a call that returned ``out``, to be used for this call only."""
        if not computes(func):
            return cls("", None)
        return cls(key_of(func, args, kwargs), OperatorCall.of(func, args, kwargs, out))


class Answers:
    """What operators have returned, by operator and the form of its arguments.

    All ranks of a rehearsal may share it, inside one :func:`without_data`.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Answer] = {}
        self._mode: Any = None

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Answer]:
        """Call an operator on tensors without data; returns what it returns, and what is known of the call."""
        form = _form_of_call(func, args, kwargs)
        found = None if form is None else self._known.get(form)
        if found is not None and found.results is not None:
            return self._returned(found, args, kwargs), found
        out = call_operator(func, args, kwargs)
        if found is None:
            found = Answer.once(func, args, kwargs, out)
            if form is not None:
                found = self._known[form] = self.learnt(found, out, list(tensors_in(args, kwargs)))
        return out, found

    def learnt(self, once: Answer, out: Any, given: Sequence[Tensor | None]) -> Answer:
        """The answer for later calls; what cannot be put together without torch is asked for every time.

        Args:
            once: What is known of the call.
            out: What it returned.
            given: The tensors among its arguments; None: one that is gone already.
        """
        several = isinstance(out, list | tuple)
        sources = [0 if one is None else id(one.untyped_storage()) for one in given]
        results: list[Any] = []
        new: set[int] = set()
        for value in out if several else (out,):
            if isinstance(value, list | tuple | dict):
                return once
            if not isinstance(value, Tensor):
                results.append(value)
                continue
            if not isinstance(value, FakeTensor) or _is_lazy(value):
                return once
            self._mode, memory = value.fake_mode, id(value.untyped_storage())
            result = _result(value, given, sources)
            if result.source == NEW and (memory in new or not _fills_memory(value)):
                return once
            new.add(memory)
            results.append(result)
        return Answer(once.key, once.call, tuple(results), type(out) if several else None)

    def made(self, answer: Answer, given: Sequence[Tensor]) -> list[Any]:
        """The results of a call whose answer is known, given the tensors among its arguments."""
        assert answer.results is not None
        return [self._tensor(one, given) if isinstance(one, _Result) else one for one in answer.results]

    def _returned(self, answer: Answer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        made = self.made(answer, list(tensors_in(args, kwargs)))
        return made[0] if answer.collection is None else answer.collection(made)

    def _tensor(self, result: _Result, given: Sequence[Tensor]) -> Tensor:
        if result.itself:
            return given[result.source]
        if result.source == NEW:
            return fake_tensor(result.shape, result.stride, result.dtype, result.device, self._mode)
        source = given[result.source]
        # Below all modes: what is called here is no operator of the model.
        with torch._C._DisableTorchDispatch():
            bare = torch.empty(0, dtype=result.dtype, device="meta")
            begin = source.storage_offset() + result.offset
            bare.set_(source.untyped_storage(), begin, result.shape, result.stride)  # type: ignore[call-overload]
            return FakeTensor(self._mode, bare, result.device)


def _result(value: Tensor, given: Sequence[Tensor | None], sources: Sequence[int]) -> _Result:
    """Describe a tensor that was returned, given the arguments and what tells their memories apart."""
    memory = id(value.untyped_storage())
    itself = next((place for place, one in enumerate(given) if one is value), NEW)
    source = itself if itself != NEW else sources.index(memory) if memory in sources else NEW
    whose = None if source == NEW else given[source]
    offset = int(value.storage_offset() - (0 if whose is None else whose.storage_offset()))
    return _Result(source, itself != NEW, offset, value.shape, value.stride(), value.dtype, value.device)


def _fills_memory(tensor: Tensor) -> bool:
    """Whether a tensor's memory is as large as that of a new one of its shape and strides."""
    size = 1 + sum((count - 1) * step for count, step in zip(tensor.shape, tensor.stride(), strict=True))
    needed = size * tensor.element_size() if tensor.numel() else 0
    return tensor.storage_offset() == 0 and storage_bytes(tensor) == needed


class _Unkeyed(Exception):
    """The form of a value does not say all that a result depends on."""


def _form_of_call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """What the result of a call on tensors without data follows from; None if that is not known."""
    if _is_unsure(func):
        return None
    try:
        named = tuple((name, _form(value)) for name, value in kwargs.items())
        # Operators that are given no dtype use the default one.
        return func, *map(_form, args), named, torch.get_default_dtype()
    except _Unkeyed:
        return None


# Operators do not change, and every call asks: the answers are kept.
@cache
def _is_unsure(func: Any) -> bool:
    """Whether results of an operator depend on more than the form of its arguments, or their form is changed."""
    # Results of as_strided begin where an argument says, wherever their source begins.
    return torch.Tag.inplace_view in func.tags or func is torch.ops.aten.as_strided.default


def _form(value: Any) -> Hashable:
    if isinstance(value, FakeTensor):
        if _is_lazy(value):
            raise _Unkeyed
        return value.shape, value.stride(), value.dtype, value.device
    if isinstance(value, list | tuple):
        return tuple(map(_form, value))
    if isinstance(value, float):
        # As text: NaN is not equal to itself, and 1.0 is equal to 1.
        return value.hex()
    if isinstance(value, _PLAIN):
        return type(value), value
    raise _Unkeyed


def _is_lazy(tensor: Tensor) -> bool:
    """Whether a tensor's values are those of its memory with a sign still to be applied."""
    return tensor.is_conj() or tensor.is_neg()
