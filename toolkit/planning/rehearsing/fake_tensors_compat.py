"""Tensors without data, as torch's compiler uses them: the import is private, and torch calls the class experimental.

Plain tensors on the device ``meta`` would be public, but they forget which device they stand for: code that asks
(memory formats, kernels, autocast) would take other ways than in a run.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

from toolkit.distributed.stages.deferred import Deferred
from toolkit.numerics.tensor_compat import tree_leaves, tree_map, without_modes
from toolkit.planning.rehearsing.known_values import KnownValues

_Model = TypeVar("_Model")


@contextmanager
def without_data() -> Iterator[None]:
    """Tensors that are made inside the ``with`` block have no data; no operator computes anything.

    Example:
        >>> with without_data():
        ...     x = torch.empty(1, 4, 60_000, 60_000, device="cuda")
        ...     torch.nn.functional.avg_pool2d(x, 2).shape
        torch.Size([1, 4, 30000, 30000])
    """
    with FakeTensorMode():
        yield


def device_without_data(kind: str) -> torch.device:
    """The device that tensors without data claim to be on, in place of a device of type ``kind``.

    It is that device itself if this build of torch knows it, even without such a device. Otherwise indexing would look
    for the device's backend and fail, so ``meta`` takes its place.

    Example:
        >>> device_without_data("cpu")
        device(type='cpu')
    """
    if kind == "cpu":
        return torch.device("cpu")
    built = torch.accelerator.current_accelerator()
    return torch.device(kind, 0) if built is not None and built.type == kind else torch.device("meta")


def fake_like(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor without data like ``tensor``, on ``device``; call it inside :func:`without_data`."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)


def fake_copy(model: _Model, device: torch.device, values: KnownValues) -> _Model:
    """Copy a model with all that it holds, but its tensors without data; call it inside :func:`without_data`.

    Args:
        model: A module, or another value that holds tensors, such as the arguments of a call. They may be on any
            device, also on ``meta``.
        device: The device that the copy's tensors claim to be on.
        values: Learns the values of small tensors that are no weights: a scheduler's timesteps, say.
    """
    known: dict[int, Any] = {}
    for module in model.modules() if isinstance(model, nn.Module) else ():
        for value in module.parameters(recurse=False):
            known[id(value)] = _fake_parameter(value, device)
    # A generator cannot be copied; nothing draws from it here.
    known |= {id(value): value for value in tree_leaves(_held(model)) if isinstance(value, torch.Generator)}
    # deepcopy asks this table first, so it never copies the data of a tensor that is in it. Tensors elsewhere, such as
    # in a scheduler, go through the mode.
    with WithoutNumbers(device, values):
        return copy.deepcopy(model, known)


def _fake_parameter(value: Tensor, device: torch.device) -> Tensor:
    """A parameter without data.

    nn.Parameter would call several operators to make it, and takes 30 times as long. Copies for many ranks have
    thousands.
    """
    mode = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
    fake = fake_tensor(value.shape, value.stride(), value.dtype, device, mode)
    # By this mark, isinstance tells that a tensor of another class is a parameter.
    fake._is_param = True
    return fake


def fake_tensor(
    shape: Sequence[int], stride: Sequence[int], dtype: torch.dtype, device: torch.device, mode: FakeTensorMode
) -> FakeTensor:
    """A tensor without data on new memory, made without a call of an operator."""
    with torch._C._DisableTorchDispatch():
        bare = torch.empty_strided(tuple(shape), tuple(stride), dtype=dtype, device="meta")
        return FakeTensor(mode, bare, device)


def _held(model: Any) -> Any:
    """Where generators may be: what modules hold, or the arguments of a call."""
    if isinstance(model, nn.Module):
        return [dict(vars(module)) for module in model.modules()]
    return dict(model if isinstance(model, dict) else getattr(getattr(model, "options", None), "arguments", {}))


class WithoutNumbers(TorchFunctionMode):
    """In this context, tensors without data can be copied, and become arrays of numpy.

    An array has the values that are known. A pipeline turns its frames into an array after all computing; there nothing
    is known, and the array has zeros.

    Args:
        device: The device that copies of other tensors claim to be on.
        values: What is known.
    """

    def __init__(self, device: torch.device, values: KnownValues) -> None:
        super().__init__()
        self._device, self._values = device, values

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        deferred = next((kind for kind in types if issubclass(kind, Deferred)), None)
        if deferred is not None:
            # torch has turned this mode off while it is asked. What is computed for a deferred tensor needs it on.
            with self:
                return deferred.__torch_function__(func, types, args, kwargs)
        if func is Tensor.__deepcopy__:
            return self._copy(*args)
        if func in (Tensor.numpy, Tensor.__array__) and is_fake(args[0]):
            twin = self._values.twin_of(args[0])
            self._values.asked += 1
            with without_modes():
                # Pages of zeros take no memory until somebody writes to them.
                return func(twin if twin is not None else torch.zeros(args[0].shape, dtype=args[0].dtype), *args[1:])
        return func(*args, **(kwargs or {}))

    def _copy(self, tensor: Tensor, known: dict[int, Any]) -> Tensor:
        if id(tensor) not in known:
            fake = is_fake(tensor)
            known[id(tensor)] = fake_like(tensor, tensor.device if fake else self._device)
            twin = self._values.twin_of(tensor) if fake else None if tensor.is_meta else tensor
            if twin is not None:
                with without_modes():
                    self._values.learn(known[id(tensor)], twin.detach().cpu().clone())
        copied: Tensor = known[id(tensor)]
        return copied


@cache
def asks_for_values(func: Any) -> bool:
    """Whether what an operator returns, or its shape, follows from the values of its tensors.

    Example:
        >>> aten = torch.ops.aten
        >>> [asks_for_values(one) for one in (aten.equal.default, aten.nonzero.default, aten.add.Tensor)]
        [True, True, False]
    """
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags))


_COLLECTIVES = {"all_to_all_single": "all_to_all", "all_gather_into_tensor": "all_gather", "wait_tensor": "wait"}


def collective_of(func: Any) -> str | None:
    """Which collective an operator is; None if it is none.

    These return a new tensor, and ``wait`` waits for it. ``torch.distributed.all_reduce`` and its like write to tensors
    that they are given, and are no such operators.

    Example:
        >>> private = torch.ops._c10d_functional
        >>> operators = private.all_to_all_single, private.wait_tensor, private.broadcast, torch.ops.aten.neg
        >>> [collective_of(one.default) for one in operators]
        ['all_to_all', 'wait', 'broadcast', None]
    """
    if func.namespace != "_c10d_functional":
        return None
    name = func.overloadpacket.__name__
    return _COLLECTIVES.get(name, name)


def is_fake(tensor: Tensor) -> bool:
    """Whether a tensor was made inside :func:`without_data`."""
    return isinstance(tensor, FakeTensor)


def storage_bytes(tensor: Tensor) -> int:
    """Bytes of the memory that a tensor without data would need."""
    return int(tensor.untyped_storage().nbytes())


def call_operator(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call an ATen operator on tensors without data; what it returns has the strides that it has in a run.

    Strides decide which kernels the operators after it use, and how much memory those need. torch's own answer differs
    for a few operators, mostly in the strides of dims of size 1; those are corrected here.
    """
    if func is _aten.mkldnn_convolution.default:
        return _onednn_convolution(*args)
    out = func(*args, **kwargs)
    if func in _ORDERED or (func in _ELEMENTWISE and not (isinstance(args[1], Tensor) and args[1].ndim)):
        return _restrided(out, _ordered(args[0]))
    if func in _LIKE and kwargs.get("memory_format") in (None, torch.preserve_format) and _is_dense(args[0]):
        return _restrided(out, args[0].stride())
    if func in _BY_META:
        return _restrided(out, _on_meta(func, args, kwargs).stride())
    if func is _aten.native_group_norm.default:
        return (_in_format_of(out[0], args[0]), *out[1:])
    if func in _IN_FORMAT:
        return _in_format_of(out, args[0])
    return out


_aten = torch.ops.aten
_ELEMENTWISE = frozenset(getattr(_aten, name).Tensor for name in ("add", "sub", "mul", "div"))
_ORDERED = frozenset(
    [*(getattr(_aten, name).Scalar for name in ("add", "sub", "mul", "div", "rsub")), _aten.flip.default]
)
_IN_FORMAT = frozenset([_aten.replication_pad3d.default, _aten.reflection_pad3d.default, _aten.roll.default])
_LIKE = frozenset(
    getattr(_aten, f"{name}_like").default for name in ("empty", "zeros", "ones", "full", "rand", "randn")
)
_BY_META = _ELEMENTWISE | {_aten.view.default, _aten._unsafe_view.default}
"""Operators whose strides torch works out in Python for tensors without data, by its own kernels for ``meta`` ones."""


def _on_meta(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Call an operator on plain tensors on ``meta``, which go through the kernel's own arithmetic on strides."""

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
        return torch.device("meta") if isinstance(value, torch.device) else value

    with without_modes():
        given, named = tree_map(plain, (tuple(args), dict(kwargs)))
        result: Tensor = func(*given, **named)
    return result


def _in_format_of(out: Tensor, x: Tensor) -> Tensor:
    """``out``, on the same memory, in the memory format in which kernels treat ``x``."""
    with without_modes():
        fresh = torch.empty(out.shape, device="meta", memory_format=suggest_memory_format(x))
    return _restrided(out, fresh.stride())


def _restrided(out: Tensor, stride: tuple[int, ...]) -> Tensor:
    """``out``, on the same memory, with other strides."""
    return out if out.stride() == stride else out.as_strided(out.shape, stride, out.storage_offset())


def _ordered(x: Tensor) -> tuple[int, ...]:
    """The strides of a result whose dims lie in memory in the order of those of ``x``.

    This is how torch's loop over elements allocates its result (TensorIterator): it sorts the dims by stride, those
    with the smallest first, from the last dim on, and of two with the same stride the one of the smaller size.
    """
    order = list(reversed(range(x.ndim)))
    for place in range(1, x.ndim):
        at = place
        for other in range(place - 1, -1, -1):
            before, after = order[other], order[at]
            steps, sizes = (x.stride(before), x.stride(after)), (x.shape[before], x.shape[after])
            if 0 in steps or (steps[0] == steps[1] and sizes[0] <= sizes[1]):
                continue
            if steps[0] < steps[1]:
                break
            order[other], order[at] = order[at], order[other]
            at = other
    strides, step = [0] * x.ndim, 1
    for dim in order:
        strides[dim] = step
        step *= x.shape[dim]
    return tuple(strides)


def _is_dense(x: Tensor) -> bool:
    """Whether the elements of ``x`` fill its stretch of memory, each in a place of its own."""
    expected = 1
    for step, size in sorted(zip(x.stride(), x.shape, strict=True)):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True


def _onednn_convolution(*args: Any) -> Tensor:
    """The result of ``aten.mkldnn_convolution``, for which torch has no answer: it raises for tensors without data."""
    x, weight, bias, padding, stride, dilation, groups = args
    out = _aten.convolution.default(x, weight, bias, stride, padding, dilation, False, [0] * len(stride), groups)
    # oneDNN computes in channels-last if either of the two is.
    return _in_format_of(out, weight if suggest_memory_format(x) is torch.contiguous_format else x)
