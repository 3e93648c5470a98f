"""Random numbers of a call that runs elsewhere: every rank draws the same, and afterwards they have been drawn here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Draws:
    """Where a pipeline's noise comes from.

    With a generator among the call's arguments, from a copy of it on every rank; the original then stands where it
    would after the call. Without one, in the same way from torch's global generator.

    Attributes:
        generators: those among the arguments, in the kernel.
        start: the global generator's state; None where no call draws from it.
    """

    generators: tuple[torch.Generator, ...]
    start: Tensor | None

    @classmethod
    def of(cls, call: Mapping[str, Any], requests: Sequence[Mapping[str, Any]] | None) -> Draws:
        """The draws of one call, or of several."""
        found = _generators(call, requests)
        return cls(found, None if found else torch.get_rng_state())

    def set_up(self, call: dict[str, Any], device: torch.device) -> dict[str, Any]:
        """On a worker: begin where the kernel stands."""
        if self.start is not None:
            torch.set_rng_state(self.start.clone())
            if device.type != "cpu":
                # An accelerator has a generator of its own: begun alike on every rank, differently from call to call.
                torch.manual_seed(int(torch.randint(2**62, ())))
        return call

    @staticmethod
    def state(call: Mapping[str, Any], requests: Sequence[Mapping[str, Any]] | None) -> list[Tensor]:
        """On a worker: where generators stand after the call."""
        found = _generators(call, requests)
        return [generator.get_state() for generator in found] or [torch.get_rng_state()]

    def take_over(self, states: Sequence[Tensor]) -> None:
        """In the kernel: let its generators stand where the workers' do."""
        if self.start is not None:
            torch.set_rng_state(states[0].clone())
        for generator, state in zip(self.generators, states, strict=False):
            generator.set_state(state.clone())


def _generators(call: Mapping[str, Any], requests: Sequence[Mapping[str, Any]] | None) -> tuple[torch.Generator, ...]:
    given = [{**call, **more}.get("generator") for more in requests or [{}]]
    flat = [one for each in given for one in (each if isinstance(each, list) else [each])]
    return tuple(generator for generator in flat if generator is not None)
