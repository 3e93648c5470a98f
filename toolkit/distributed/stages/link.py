"""Links: what a stage hands to the next one, or a result to all, between two ranks.

A message is any object with tensors in it. Before its tensors go two numbers: a digest of what the call was given, and
the length of the message's form (everything but the tensors' values) where it is not that of the last message under the
same key. So a receiver that knows a form asks for numbers and tensors at one go. Where the form has changed, tensors of
the old one are sent for nothing, before form and tensors of the new one: what was asked for must come.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange, Message
from toolkit.errors import RunError
from toolkit.runs.trace import Label


@dataclass(frozen=True, slots=True)
class Form:
    """Shape, strides and dtype of a tensor under way. Strides travel too: kernels may round by them."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(slots=True, eq=False)
class Link:
    """One direction between this rank and another.

    Attributes:
        exchange: this rank's messages in that direction.
        peer: the other rank.
        forms: of the last message under each key, as both ends know it.
    """

    exchange: Exchange
    peer: int
    forms: dict[str, bytes] = field(default_factory=dict)

    def send(self, value: Any, key: str, digest: int, label: Label) -> None:
        """Start to send an object; its tensors must stay as they are.

        Args:
            value: what can be pickled, with tensors.
            key: messages under the same key have the same form, as a rule.
            digest: tells what the call that it belongs to was given.
            label: for the trace.
        """
        stream = io.BytesIO()
        pickler = _Pickler(stream)
        pickler.dump(value)
        text = pickle.dumps((stream.getvalue(), [_form(tensor) for tensor in pickler.tensors]))
        before, self.forms[key] = self.forms.get(key), text
        changed = text != before
        self.exchange.send(torch.tensor([digest, len(text) if changed else 0]), self.peer, label)
        if changed:
            for form in _forms(before):
                self.exchange.send(torch.zeros(form.shape, dtype=form.dtype), self.peer, label)
            self.exchange.send(torch.frombuffer(bytearray(text), dtype=torch.uint8), self.peer, label)
        for tensor in pickler.tensors:
            self.exchange.send(tensor.detach(), self.peer, label)

    def receive(self, key: str, digest: int, label: Label) -> Any:
        """Wait for an object.

        Raises:
            RunError: where the other rank's call was given something else than this rank's.
            RankFailed: where another rank failed meanwhile.
        """
        numbers = self._ask(Form((2,), (1,), torch.int64), label)
        asked = [self._ask(form, label) for form in _forms(self.forms.get(key))]
        theirs, length = self.exchange.take(numbers).tolist()
        if theirs != digest:
            raise RunError(
                f"rank {self.exchange.member.rank} and rank {self.peer} gave a model different inputs ({label}): every "
                "rank must have the same noise, prompts and timesteps; give the same seed or generator on all."
            )
        if length:
            for message in asked:
                self.exchange.wait(message)
            text = self.exchange.take(self._ask(Form((length,), (1,), torch.uint8), label))
            self.forms[key] = text.cpu().numpy().tobytes()
            asked = [self._ask(form, label) for form in _forms(self.forms[key])]
        body, forms = pickle.loads(self.forms[key])
        tensors = [_strided(self.exchange.take(message), form) for message, form in zip(asked, forms, strict=True)]
        return _Unpickler(io.BytesIO(body), tensors).load()

    def _ask(self, form: Form, label: Label) -> Message:
        return self.exchange.receive(form.shape, form.dtype, self.peer, label)


def _forms(text: bytes | None) -> list[Form]:
    """The forms of a message's tensors."""
    found: list[Form] = [] if text is None else pickle.loads(text)[1]
    return found


def _strided(came: Tensor, form: Form) -> Tensor:
    if came.stride() == form.stride or 0 in form.shape:
        return came
    return torch.empty_strided(form.shape, form.stride, dtype=form.dtype, device=came.device).copy_(came)


def _form(tensor: Tensor) -> Form:
    expanded = any(step == 0 and size > 1 for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return Form(tuple(tensor.shape), (tensor.contiguous() if expanded else tensor).stride(), tensor.dtype)


class _Pickler(pickle.Pickler):
    """Pickles all but tensors."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.tensors: list[Tensor] = []

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, Tensor):
            return None
        self.tensors.append(obj)
        return len(self.tensors) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, tensors: list[Tensor]) -> None:
        super().__init__(stream)
        self._tensors = tensors

    def persistent_load(self, place: Any) -> Tensor:
        return self._tensors[place]
