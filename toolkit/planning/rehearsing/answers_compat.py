"""What operators return on tensors without data, remembered: a model calls the same ones again and again.

torch takes about 100 microseconds to work out what an operator returns. For every tile, layer, step, request and rank,
a model calls the same operators on tensors of the same form. So only the first call of a form asks torch. For each later
one the results are put together from what is known of the first: which of them are arguments, which are views of
arguments, and which have memory of their own.

What a tensor without data is made of is private to torch.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from toolkit.planning.rehearsing.fake_tensors_compat import call_operator
from toolkit.planning.rehearsing.operator_call import OperatorCall, computes, key_of

_PLAIN = (bool, int, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)
"""Types of arguments that are compared by value."""

NEW = -1
"""The source of a result that has memory of its own."""


class _Result(NamedTuple):
    """A tensor that an operator returns.

    Attributes:
        source: Which of the tensors among the arguments it shares memory with; ``NEW``: none.
        itself: Whether it is that argument.
        bytes: The size of its memory, if that is new.
        offset: Where it begins, counted from where its source begins.
        shape: Its shape.
        stride: Its strides.
        dtype: Its dtype.
        device: The device that it claims to be on.
    """

    source: int
    itself: bool
    bytes: int
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
            return self._made(found, args, kwargs), found
        out = call_operator(func, args, kwargs)
        if found is None:
            found = Answer.once(func, args, kwargs, out)
            if form is not None:
                found = self._known[form] = self._learnt(found, out, list(tensors_in(args, kwargs)))
        return out, found

    def _learnt(self, call: Answer, out: Any, given: Sequence[Tensor]) -> Answer:
        """The answer for later calls; what cannot be put together without torch is asked for every time."""
        several = isinstance(out, list | tuple)
        sources = [id(one.untyped_storage()) for one in given]
        found: list[Any] = []
        for value in out if several else (out,):
            if not isinstance(value, FakeTensor):
                found.append(value)
                continue
            self._mode, memory = value.fake_mode, value.untyped_storage()
            source = sources.index(id(memory)) if id(memory) in sources else NEW
            begin = 0 if source == NEW else given[source].storage_offset()
            itself = next((place for place, one in enumerate(given) if one is value), NEW)
            form = (value.storage_offset() - begin, value.shape, value.stride(), value.dtype, value.device)
            found.append(_Result(source if itself == NEW else itself, itself != NEW, memory.nbytes(), *form))
        tensors = [value for value in (out if several else (out,)) if isinstance(value, Tensor)]
        new = [id(one.untyped_storage()) for one in tensors if id(one.untyped_storage()) not in sources]
        plain = all(isinstance(value, FakeTensor) and not _is_lazy(value) for value in tensors)
        # Nested results, and several on one new memory, are too rare to be worth a description.
        flat = not any(isinstance(value, list | tuple | dict) and not isinstance(value, _Result) for value in found)
        if not plain or not flat or len(new) != len(set(new)):
            return call
        return Answer(call.key, call.call, tuple(found), type(out) if several else None)

    def _made(self, answer: Answer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The results of a call whose answer is known."""
        given = list(tensors_in(args, kwargs))
        assert answer.results is not None
        made = [self._tensor(one, given) if isinstance(one, _Result) else one for one in answer.results]
        return made[0] if answer.collection is None else answer.collection(made)

    def _tensor(self, result: _Result, given: Sequence[Tensor]) -> Tensor:
        if result.itself:
            return given[result.source]
        # Below all modes: what is called here is no operator of the model.
        with torch._C._DisableTorchDispatch():
            if result.source == NEW:
                memory, offset = torch.UntypedStorage(result.bytes, device="meta"), result.offset
            else:
                source = given[result.source]
                memory, offset = source.untyped_storage(), source.storage_offset() + result.offset
            bare = torch.empty(0, dtype=result.dtype, device="meta")
            bare.set_(memory, offset, result.shape, result.stride)  # type: ignore[call-overload]
            return FakeTensor(self._mode, bare, result.device)


def tensors_in(args: Iterable[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors among the arguments of an ATen operator, which nest in lists at most.

    Example:
        >>> a, b = torch.zeros(2), torch.zeros(3)
        >>> [len(one) for one in tensors_in(([a, None], 2), {"out": b})]
        [2, 3]
    """
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value, {})


class _Unkeyed(Exception):
    """The form of a value does not say all that a result depends on."""


def _form_of_call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """What the result of a call on tensors without data follows from; None if that is not known."""
    # Results of as_strided begin where an argument says, wherever their source begins.
    if torch.Tag.inplace_view in func.tags or func is torch.ops.aten.as_strided.default:
        return None
    try:
        named = tuple((name, _form(value)) for name, value in kwargs.items())
        # Operators that are given no dtype use the default one.
        return func, *map(_form, args), named, torch.get_default_dtype()
    except _Unkeyed:
        return None


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
