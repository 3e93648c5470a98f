"""Links: one direction between two ranks, along which a stage's output or a result travels.

A message is any object with tensors in it. It travels as

    header    two int64 numbers: a digest of the call's inputs, and the length of the form (0: the same form as before)
    form      everything but the values of the tensors: shape, strides and dtype of each, and the object around them
    tensors   the values, one tensor after the other

In a denoising loop the form rarely changes from step to step. Both ends remember the last form under each key, so the
receiver can post the receives of the header and of all tensors at once, before it knows what comes. Only when the form
has changed does the order below cost anything: tensors of the *old* form are sent too, as zeros, because the receiver
has already posted receives for them, and every posted receive must get its message.

    sender    {header, tensors}    or, if the form has changed, {header, zeros of the old form} {new form} {tensors}
    receiver  {header, tensors}    or, if the form has changed, {header, zeros of the old form} {new form} {tensors}

What stands in braces is posted as one group.

Why this cannot deadlock: the sender waits for nothing, and the receiver's order of receives is the sender's order of
sends. It depends only on the last form and the header, which both ends have.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.message import Incoming, Message, Outgoing
from toolkit.distributed.stages.structure import put_together, taken_apart
from toolkit.errors import RunError
from toolkit.runs.trace import Label


@dataclass(frozen=True, slots=True)
class Form:
    """The shape, strides and dtype of a tensor under way.

    Strides travel too: a kernel may add in another order for other strides, which changes the last bits.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


END = b"\n"
"""What ends the line of forms."""

_HEADER = Form((2,), (1,), torch.int64)


@dataclass(slots=True, eq=False)
class Link:
    """One direction between this rank and another.

    Attributes:
        exchange: This rank's messages in that direction.
        peer: The other rank.
        forms: The form of the last message under each key, the same on both ends.
    """

    exchange: Exchange
    peer: int
    forms: dict[str, bytes] = field(default_factory=dict)

    def send(self, value: Any, key: str, digest: int, label: Label) -> None:
        """Start to send an object. Its tensors must not be written to until they have left.

        Args:
            value: An object with tensors in it, of the kinds that :mod:`~toolkit.distributed.stages.structure` reads.
            key: Messages under the same key usually have the same form.
            digest: Identifies the inputs of the call that the message belongs to.
            label: For the trace.
        """
        body, found = taken_apart(value)
        text = _as_text([_form(tensor) for tensor in found]) + body
        before, self.forms[key] = self.forms.get(key), text
        changed = text != before
        header = torch.tensor([digest, len(text) if changed else 0])
        tensors = [tensor.detach() for tensor in found]
        if changed:
            # The receiver has posted receives for tensors of the old form: fill them.
            self._post_all(label, [header, *(torch.zeros(form.shape, dtype=form.dtype) for form in _forms(before))])
            self._post_all(label, [torch.frombuffer(bytearray(text), dtype=torch.uint8)])
            self._post_all(label, tensors)
        else:
            self._post_all(label, [header, *tensors])

    def receive(self, key: str, digest: int, label: Label) -> Any:
        """Wait for an object and return it.

        Raises:
            RunError: If the other rank's call had other inputs than this rank's.
            RankFailed: If another rank failed meanwhile.
        """
        header, *posted = self._await_all(label, [_HEADER, *_forms(self.forms.get(key))])
        theirs, length = self.exchange.take(header).tolist()
        if theirs != digest:
            raise RunError(
                f"rank {self.exchange.member.rank} and rank {self.peer} gave a model different inputs ({label}): every "
                "rank needs the same noise, prompts and timesteps. Give all ranks the same seed or generator."
            )
        if length:
            # The form has changed: drop the zeros that came in the old form, and post receives of the new one.
            for message in posted:
                self.exchange.wait(message)
            (coming,) = self._await_all(label, [Form((length,), (1,), torch.uint8)])
            self.forms[key] = self.exchange.take(coming).cpu().numpy().tobytes()
            posted = self._await_all(label, _forms(self.forms[key]))
        forms, (_, _, body) = _forms(self.forms[key]), self.forms[key].partition(END)
        tensors = [_strided(self.exchange.take(message), form) for message, form in zip(posted, forms, strict=True)]
        return put_together(body, tensors)

    def _post_all(self, label: Label, tensors: Sequence[Tensor]) -> None:
        """Start to send tensors, as one group."""
        self.exchange.swap(label, [Outgoing(tensor, self.peer) for tensor in tensors])

    def _await_all(self, label: Label, forms: Sequence[Form]) -> list[Message]:
        """Post the receives of tensors, as one group."""
        return self.exchange.swap(label, receives=[Incoming(form.shape, form.dtype, self.peer) for form in forms])


def _forms(text: bytes | None) -> list[Form]:
    """The forms of a message's tensors; none before the first message."""
    rows = [] if text is None else json.loads(text.partition(END)[0])
    return [Form(tuple(shape), tuple(stride), _dtype(name)) for shape, stride, name in rows]


def _as_text(forms: Sequence[Form]) -> bytes:
    """Forms as a line of JSON."""
    return json.dumps([(form.shape, form.stride, str(form.dtype).partition(".")[2]) for form in forms]).encode() + END


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise RunError(f"a message of dtype {name!r} between ranks: torch has no such dtype.")
    return found


def _strided(received: Tensor, form: Form) -> Tensor:
    """A received tensor, which is contiguous, with the strides that it had on the other rank."""
    if received.stride() == form.stride or 0 in form.shape:
        return received
    return torch.empty_strided(form.shape, form.stride, dtype=form.dtype, device=received.device).copy_(received)


def _form(tensor: Tensor) -> Form:
    # An expanded tensor (stride 0) has fewer numbers in memory than its shape says, and cannot be received as such.
    expanded = any(step == 0 and size > 1 for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return Form(tuple(tensor.shape), (tensor.contiguous() if expanded else tensor).stride(), tensor.dtype)
