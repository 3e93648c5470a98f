"""What it costs that every torch call of a model is looked at: one shard against the model's own call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from toolkit import distributed
from toolkit.geometry.shards import ShardPlan
from toolkit.models.census import specimen
from toolkit.models.whole import Call

MODEL, FRAMES, REPEATS = "AutoencoderKLWan_2.1", 9, 15


class _Count(TorchFunctionMode):
    """Counts torch calls."""

    calls = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def interception() -> dict[str, float]:
    """Microseconds of processor time that a sharded decode adds to each torch call, on maps of a few cells.

    The least of several decodes, over a model of the Wan form whose own work is next to nothing, its few messages to
    itself and the padding that shards do themselves included.
    """
    one = specimen(MODEL)
    vae, latent, call = one.build(), one.latent(2, 2, frames=FRAMES), Call()
    with torch.no_grad(), _Count() as count:
        call(vae, latent)

    def own() -> None:
        with torch.no_grad():
            call(vae, latent)

    def sharded() -> None:
        distributed.decode(vae, latent, ShardPlan(), convolutions="aten")

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        base, ours = _least(own, sharded)
    finally:
        torch.set_num_threads(before)
    return {"torch calls": float(count.calls), "us per call": (ours - base) / count.calls * 1e6}


def _least(*functions: Callable[[], None]) -> list[float]:
    """The least seconds that each takes, in turns: what else the machine does meanwhile falls on all alike."""
    rounds = [[_seconds(function) for function in functions] for _ in range(1 + REPEATS)]
    return [min(times) for times in zip(*rounds[1:], strict=True)]


def _seconds(function: Callable[[], None]) -> float:
    begin = time.process_time()
    function()
    return time.process_time() - begin
