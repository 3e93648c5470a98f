"""The cost of intercepting every torch call of a model: one shard against the model's own call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.shards.run_shards import compute
from toolkit.distributed.shards.shard import Shard
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.models.autoencoders.borrowed import borrowed
from toolkit.models.autoencoders.census import specimen
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.sharding import sharding_of
from toolkit.runs.trace import Recorder

MODEL, FRAMES, REPEATS = "AutoencoderKLWan_2.1", 9, 30


class _Count(TorchFunctionMode):
    """Counts torch calls."""

    calls = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def interception() -> dict[str, float]:
    """Microseconds of processor time that sharding adds to each torch call of a model, on maps of a few cells.

    This is the minimum over several decodes on one shard, with a model like Wan's whose own work is negligible. The
    result also has the cost of a torch function mode that only passes calls on. One-off costs of a decode (threads for
    messages, collecting the parts) are not per call and not counted.
    """
    one = specimen(MODEL)
    vae, latent, call, plan = one.build(), one.latent(2, 2, frames=FRAMES), ModelCall(), ShardPlan()
    sharding, alone = sharding_of(vae, call), Member(None, 0, 1)
    parts = sharding.parts(plan, tuple(latent.shape))
    exchange = Exchange(alone, FailureFlag(None, 0), trace=Recorder(0), device=latent.device)
    shard = Shard(plan, exchange, "aten", vae, seeded=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with borrowed(vae):
            with _Count() as count:
                call(vae, latent)
            own, passed, ours = _least(
                lambda: call(vae, latent),
                lambda: _passed_on(call, vae, latent=latent),
                lambda: compute(vae, latent, call=call, shard=shard, parts=parts, sharding=sharding),
            )
    finally:
        torch.set_num_threads(before)
        exchange.close()
    each = 1e6 / count.calls
    return {
        "torch calls": float(count.calls),
        "us per call": (ours - own) * each,
        "us per call, a mode that does nothing": (passed - own) * each,
    }


class _PassOn(TorchFunctionMode):
    """Does nothing."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return func(*args, **kwargs) if kwargs else func(*args)


def _passed_on(call: ModelCall, vae: Any, *, latent: Tensor) -> None:
    with _PassOn():
        call(vae, latent)


def _least(*functions: Callable[[], Any]) -> list[float]:
    """The minimum seconds of each function; they take turns, so that other load on the machine affects all alike."""
    rounds = [[_seconds(function) for function in functions] for _ in range(1 + REPEATS)]
    return [min(times) for times in zip(*rounds[1:], strict=True)]


def _seconds(function: Callable[[], Any]) -> float:
    begin = time.process_time()
    function()
    return time.process_time() - begin
