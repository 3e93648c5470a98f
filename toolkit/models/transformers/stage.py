"""One stage of a transformer: its own forward, run from the layer where another stage ends to where the next begins.

A stage of layers 2 and 3 of 6, while it is called:

    forward: embeddings -> layer 0 -> layer 1 -> layer 2 -> layer 3 -> layer 4 -> layer 5 -> projection
    runs:    own           ghost      receive    own        own, then  never reached
                           (NaN)      (payload)             leaves forward with its result
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.span import Span
from toolkit.geometry.stage_split import StageSplit
from toolkit.models.transformers.ghost import ghost, returned, stand_in
from toolkit.models.transformers.layers import layers_of, owned


class Stage:
    """Some layers of a transformer that run as a part of its own forward.

    Every stage runs the transformer's forward, and computes for itself what comes before the layers (embeddings,
    positions, text). Ghosts take the place of the layers of earlier stages; the last of them returns what was received.
    The last own layer leaves forward. All this lasts for one call: outside of it the transformer is as it was found, so
    several stages may share it. Two calls at the same time may not.

    Layers of other stages never run and may be on the meta device.

    Args:
        transformer: The whole model, with its layers in lists that forward loops over. It is neither copied nor
            changed.
        span: The stage's layers, by their place in ``layers_of``.

    Raises:
        PlanError: If the transformer has no such layers.
        ModelError: If its layers, or what they return, cannot be read.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> specimen = transformer("Wan")
        >>> wan, inputs = specimen.build(), specimen.inputs()
        >>> first, last = Stage(wan, Span(0, 3)), Stage(wan, Span(3, 4))
        >>> with torch.no_grad():
        ...     payload = first(None, **inputs)
        ...     (output,) = last(lambda: payload, **inputs)
        ...     torch.equal(output, wan(**inputs)[0])
        True
    """

    def __init__(self, transformer: nn.Module, span: Span) -> None:
        self.transformer, self.span = transformer, span
        self.names = owned(transformer, span)
        self.layers = layers_of(transformer)
        # Ghosts are made at every call; what they return is read now, so that an unreadable block is refused early.
        for name in self.layers[: span.start]:
            returned(transformer.get_submodule(name))

    @property
    def first(self) -> bool:
        """Whether it receives nothing."""
        return self.span.start == 0

    @property
    def last(self) -> bool:
        """Whether it returns the transformer's own output."""
        return self.span.stop == len(self.layers)

    def __call__(self, receive: Callable[[], Any] | None, *args: Any, **kwargs: Any) -> Any:
        """Run the stage.

        Args:
            receive: The function that returns what the stage before returned. It is called once, when forward comes to
                the first own layer, so what comes before overlaps the wait. None for the first stage.
            *args: The transformer's arguments. They are the same on every stage, though the values of the latents
                matter to the first one only.
            **kwargs: The transformer's keyword arguments.

        Returns:
            What the last own layer returns; on the last stage, the transformer's output.

        Raises:
            PlanError: If the first stage is given ``receive``, or another one is not.
            ModelError: If forward did not run the layers one after the other: some were skipped, or called twice.
        """
        if self.first != (receive is None):
            raise PlanError(
                f"{self!r} with receive={receive!r}: the first stage receives nothing, and every other one receives "
                "from the stage before it."
            )
        self._check_checkpointing()
        inbox = _Inbox(self, receive)
        with self._standing_in(inbox):
            try:
                output = self.transformer(*args, **kwargs)
            except _Left as left:
                output = left.payload
            else:
                if not self.last:
                    raise ModelError(f"{self!r}: forward ended without {self.names[-1]}. {_SKIPPED}")
        inbox.check()
        return output

    @contextmanager
    def _standing_in(self, inbox: _Inbox) -> Iterator[None]:
        """Put stand-ins for layers into their lists, and the layers back at the end."""
        found = {name: self.transformer.get_submodule(name) for name in self.layers}
        before, after = self.layers[: self.span.start], self.layers[self.span.stop :]
        # All but the last layer before this stage return NaN of the right shape ...
        stand_ins = {name: ghost(found[name]) for name in before[:-1]}
        # ... the last one before it returns what was received ...
        stand_ins |= {name: stand_in(found[name], inbox.take) for name in before[-1:]}
        if after:
            # ... the last own layer runs and leaves forward with its result, past everything that comes after ...
            stand_ins[self.names[-1]] = stand_in(found[self.names[-1]], _leaving(found[self.names[-1]]))
        # ... and a later layer that is called all the same shows that forward skipped the last own one.
        stand_ins |= {name: stand_in(found[name], self._overrun) for name in after}
        try:
            for name, module in stand_ins.items():
                self.transformer.set_submodule(name, module)
            yield
        finally:
            for name in stand_ins:
                self.transformer.set_submodule(name, found[name])

    def _overrun(self, *_: Any, **__: Any) -> Any:
        raise ModelError(f"{self!r}: forward went on beyond its last layer, {self.names[-1]}. {_SKIPPED}")

    def _check_checkpointing(self) -> None:
        if torch.is_grad_enabled() and getattr(self.transformer, "gradient_checkpointing", False):
            raise ModelError(
                f"{self!r} with gradient checkpointing: a layer that is computed again for the backward pass cannot "
                "leave forward. Call it under torch.no_grad(), or transformer.disable_gradient_checkpointing()."
            )

    def __repr__(self) -> str:
        return f"Stage({type(self.transformer).__name__}, layers {self.span} of {len(self.layers)})"


def run_stages(
    transformer: nn.Module,
    split: StageSplit,
    *,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    seen: Callable[[Any], None] | None = None,
    later: tuple[tuple[Any, ...], Mapping[str, Any]] | None = None,
) -> Any:
    """Run all stages one after the other in this process.

    Args:
        transformer: The whole model.
        split: Its layers in stages.
        args: The transformer's arguments.
        kwargs: The transformer's keyword arguments.
        seen: A function that is called with each payload between two stages.
        later: Other arguments for all stages but the first.

    Returns:
        What the last stage returns: the transformer's output.
    """
    passed = None
    for span in split.stages:
        stage = Stage(transformer, span)
        if stage.first:
            passed = stage(None, *args, **kwargs)
        else:
            rest, named = later or (args, kwargs)
            passed = stage(partial(_same, passed), *rest, **named)
        if seen is not None and not stage.last:
            seen(passed)
    return passed


class _Inbox:
    """What a stage receives, once."""

    def __init__(self, stage: Stage, receive: Callable[[], Any] | None) -> None:
        self.stage, self.receive, self.taken = stage, receive, 0

    def take(self, *_: Any, **__: Any) -> Any:
        """Receive the payload; it is returned as if by the last layer of the stage before."""
        self.taken += 1
        if self.receive is None or self.taken > 1:
            raise ModelError(f"{self.stage!r}: forward calls the layer before it twice, so it cannot be cut there.")
        return self.receive()

    def check(self) -> None:
        """Refuse a call that did without the payload."""
        if self.receive is not None and not self.taken:
            raise ModelError(f"{self.stage!r}: forward did not come to the layer before it. {_SKIPPED}")


_SKIPPED = "Layers that a call skips (skip_layers=...) may not lie at a stage's border: move the cut."


class _Left(BaseException):
    """Leaves a transformer's forward after a stage's last layer.

    It is not an ``Exception``: a forward that catches those (some log and go on) must not catch this one.
    """

    def __init__(self, payload: Any) -> None:
        super().__init__()
        self.payload = payload


def _leaving(block: nn.Module) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        # The block itself is called, with its hooks and compiled code; only the stand-in around it has neither.
        raise _Left(block(*args, **kwargs))

    return forward


def _same(payload: Any) -> Any:
    return payload
