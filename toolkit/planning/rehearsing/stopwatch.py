"""Measuring what a device and its host cost: operators by themselves, the host around them, and messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from statistics import mean, median
from typing import Any

import torch

from toolkit.distributed import decoding
from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.message import Incoming, Outgoing
from toolkit.distributed.comm.rank import Rank
from toolkit.geometry.plan import Plan, or_whole
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.topology import Link
from toolkit.models import demo
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.planning.rehearsing.operator_call import OperatorCall
from toolkit.planning.rehearsing.profile import OperatorCost
from toolkit.planning.rehearsing.rank_places import own_device
from toolkit.runs.device import synchronise
from toolkit.runs.memory import MemoryCurve, measured
from toolkit.runs.trace import Label, clock

ENOUGH = 0.02
"""Seconds of repetitions after which an operator is not called again."""
WHILE = 0.7
"""Seconds for which ranks work to show their pace."""
FEWEST, MOST = 5, 30
"""Number of timings of an operator."""
NEAR, CACHE, MOST_SETS = 2 << 20, 64 << 20, 8
"""Bytes that a core's own cache holds, bytes that no cache holds, and the most sets of arguments that an operator is
called on."""
SMALL = (1, 16, 4, 4)
"""The latent of the call by which the host's part is measured: its operators are as small as operators get."""


def small_pipeline_call() -> dict[str, Any]:
    """The same for a pipeline: the arguments of a call of the demo pipeline."""
    return demo.call(height=16, width=16, num_frames=1, num_inference_steps=2, output_type="latent")


MESSAGES = (1 << 10, 1 << 20, 1 << 23)
"""Bytes of the messages by which a link is measured."""
ROUNDS = 11
"""Number of round trips of each size, and of decodes on shards."""


def measure_operators(calls: Mapping[str, OperatorCall], device: str | None = None) -> dict[str, OperatorCost]:
    """Measure operators on this process's device, with its threads.

    Args:
        calls: The operators, by text.
        device: The type of device; None: the machine's accelerator where there is one.
    """
    where = own_device(device)
    with torch.no_grad():
        return {key: _measure(call, where) for key, call in calls.items()}


def measure_pace(calls: Mapping[str, OperatorCall], seconds: Mapping[str, float], device: str | None) -> float:
    """How quickly this rank calls operators in turn for a while, which other ranks do at the same time.

    Ranks that share a processor take turns of some milliseconds: most calls of an operator are as quick as ever, and
    one waits for a whole turn. So timings of single calls do not tell how long such ranks take; how much they get done
    in a while does.

    Args:
        calls: The operators, by text.
        seconds: What a call of each takes.
        device: The type of device; None: the machine's accelerator where there is one.

    Returns:
        What its calls should have taken, over what they did take.
    """
    where = own_device(device)
    with torch.no_grad():
        ready = [(call.run_on(where), seconds[key]) for key, call in calls.items()]
        for run, _ in ready:
            run()
        synchronise(where)
        done, begin = 0.0, clock()
        for run, usual in cycle(ready):
            run()
            synchronise(where)
            done += usual
            if clock() - begin > WHILE:
                break
    return done / (clock() - begin)


def measure_call(plan: Plan | None, device: str | None = None) -> float:
    """Measure a whole small decode of the demo model, from Python to the last operator; returns seconds.

    Args:
        plan: How it is divided: None, or a plan for one rank.
        device: As for :func:`measure_operators`.
    """
    where = own_device(device)
    vae, latent = demo.image_vae().to(where), torch.zeros(SMALL)
    alone = Rank.alone()

    def call() -> None:
        decoding.run_as(alone, vae, latent, or_whole(plan), ModelCall())

    call()
    return median(_timings(call, where))


def measure_pipeline_call(device: str | None = None) -> float:
    """Measure a small call of the demo pipeline, as :func:`measure_call` does of an autoencoder."""
    where = own_device(device)
    pipe = demo.pipeline().to(where)
    pipe.set_progress_bar_config(disable=True)
    pipe(**small_pipeline_call())
    return median(_timings(lambda: pipe(**small_pipeline_call()), where))


def measure_shards(shape: Sequence[int], plan: ShardPlan, device: str | None = None) -> float:
    """Measure a decode of the demo model on shards of all ranks of the default group; every rank calls this.

    Args:
        shape: The shape of the latent.
        plan: The shards.
        device: As for :func:`measure_operators`.
    """
    where = own_device(device)
    vae, latent = demo.image_vae().to(where), torch.zeros(*shape)
    rank, taken = Rank.of(None, None, "onednn"), []
    # As often on every rank: each call needs them all.
    for _ in range(ROUNDS):
        begin = clock()
        decoding.run_as(rank, vae, latent, plan, ModelCall())
        synchronise(where)
        taken.append(clock() - begin)
    return median(taken)


def measure_link(device: str | None = None) -> Link:
    """Measure the link between ranks 0 and 1 of the default group; every rank of the group calls this.

    Returns:
        The link; on further ranks, nothing of meaning.
    """
    where = own_device(device)
    rank = Rank.of(None, None, "aten")
    rank.connect()
    me, exchange = rank.member.rank, rank.exchange(where)
    if me >= 2:
        return Link(bandwidth=1.0)
    try:
        taken = {size: median(_round_trips(exchange, size, me)) / 2 for size in MESSAGES}
    finally:
        exchange.close()
    small, *_, large = MESSAGES
    bandwidth = (large - small) / max(taken[large] - taken[small], 1e-9)
    return Link(bandwidth, max(0.0, taken[small] - small / bandwidth))


def _round_trips(exchange: Exchange, size: int, me: int) -> Iterator[float]:
    """Send messages to the other rank and back; yields the seconds of each round trip."""
    label, other = Label(text="link"), 1 - me
    buffer = torch.zeros(size, dtype=torch.uint8, device=exchange.device)
    for _ in range(ROUNDS):
        back = Incoming(tuple(buffer.shape), buffer.dtype, other)
        begin = clock()
        (message,) = exchange.swap(label, [Outgoing(buffer, other)] if me == 0 else [], [back])
        exchange.take(message)
        if me == 1:
            exchange.swap(label, [Outgoing(buffer, other)])
        exchange.flush()
        synchronise(buffer.device)
        yield clock() - begin


def _measure(call: OperatorCall, device: torch.device) -> OperatorCost:
    # In a run, an operator finds its tensors in the processor's cache only if they are small. So it is called on
    # several sets of large ones in turn.
    sets = 1 if call.work.bytes <= NEAR else min(MOST_SETS, max(1, CACHE // call.work.bytes))
    turns = cycle([call.run_on(device) for _ in range(sets)])
    held: deque[Any] = deque(maxlen=sets)

    def one() -> None:
        # Results are kept for a while, or the next call would find their memory in the cache.
        held.append(next(turns)())

    # What the first call of a shape sets up, later ones reuse.
    one()
    curve = MemoryCurve(0)
    with measured(curve, device, origin=clock()):
        once = next(turns)()
    del once
    return OperatorCost(_usual(_timings(one, device)), curve.peak or 0)


def _usual(taken: Sequence[float]) -> float:
    """The mean of timings but for the longest, which may be a hiccup of the machine.

    Example:
        >>> _usual([1.0, 2.0, 1.0, 2.0, 90.0])
        1.5
    """
    return mean(sorted(taken)[:-1] or taken)


def _timings(call: Callable[[], Any], device: torch.device) -> Sequence[float]:
    taken: list[float] = []
    while len(taken) < FEWEST or (sum(taken) < ENOUGH and len(taken) < MOST):
        synchronise(device)
        begin = clock()
        call()
        synchronise(device)
        taken.append(clock() - begin)
    return taken
