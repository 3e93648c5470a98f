"""Measuring what a device and its host cost: operators by themselves, the host around them, and messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle
from statistics import median
from typing import Any

import torch

from toolkit.distributed import decoding
from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.message import Incoming, Outgoing
from toolkit.distributed.comm.rank import Rank
from toolkit.geometry.plan import or_whole
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

TURNS = 3
"""How often all operators are measured, one after the other: a machine may be busy for a second, and then with few."""
ENOUGH, ENOUGH_CALLS = 0.007, 0.07
"""Seconds of repetitions after which an operator, or a small call with its host, is not repeated in a turn."""
WHILE = 0.7
"""Seconds for which ranks work to show their pace."""
FEWEST, MOST = 2, 10
"""Number of timings in a turn."""
NEAR, CACHE, MOST_SETS = 2 << 20, 64 << 20, 8
"""Bytes that a core's own cache holds, bytes that no cache holds, and the most sets of arguments that an operator is
called on."""
SMALL = (1, 16, 4, 4)
"""The latent of the call by which the host's part is measured: its operators are as small as operators get."""


def small_plan(around: str) -> ShardPlan | None:
    """How that call is divided: in one shard, or not at all."""
    return ShardPlan() if around == "ruled_call" else None


def small_pipeline_call() -> dict[str, Any]:
    """The same for a pipeline: the arguments of a call of the demo pipeline."""
    return demo.call(height=16, width=16, num_frames=1, num_inference_steps=2, output_type="latent")


MESSAGES = (1 << 10, 1 << 20, 1 << 23)
"""Bytes of the messages by which a link is measured."""
ROUNDS = 11
"""Number of round trips of each size, and of decodes on shards."""


def measure_operators(
    calls: Mapping[str, OperatorCall], around: Sequence[str] = (), device: str | None = None
) -> tuple[dict[str, OperatorCost], dict[str, float]]:
    """Measure operators, and small calls with the host around them, on this process's device, with its threads.

    Args:
        calls: The operators, by text.
        around: What the host does around operators, by the names of fields of
            :class:`~toolkit.planning.rehearsing.profile.HostCost`.
        device: The type of device; None: the machine's accelerator where there is one.

    Returns:
        What each operator costs, and the seconds of a small call of each kind.
    """
    where = own_device(device)
    taken: dict[str, list[float]] = {key: [] for key in (*calls, *around)}
    with torch.no_grad():
        whole = {kind: _ready_call(kind, where) for kind in around}
        sizes = {key: _most_bytes(call, where) for key, call in calls.items()}
        for _ in range(TURNS):
            for key, call in calls.items():
                taken[key] += _timings(_in_turn(call, where), where, ENOUGH)
            for kind, one in whole.items():
                taken[kind] += _timings(one, where, ENOUGH_CALLS)
    costs = {key: OperatorCost(median(taken[key]), sizes[key]) for key in calls}
    return costs, {kind: median(taken[kind]) for kind in around}


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


def _ready_call(around: str, device: torch.device) -> Callable[[], object]:
    """A small call of a demo model, from Python to the last operator."""
    if around == "pipeline_call":
        pipe = demo.pipeline().to(device)
        pipe.set_progress_bar_config(disable=True)
        call: Callable[[], object] = partial(pipe, **small_pipeline_call())
    else:
        vae, latent, plan = demo.image_vae().to(device), torch.zeros(SMALL), or_whole(small_plan(around))
        call = partial(decoding.run_as, Rank.alone(), vae, latent, plan, ModelCall())
    call()
    return call


def _most_bytes(call: OperatorCall, device: torch.device) -> int:
    """The most bytes that are allocated during a call above those before it."""
    run = call.run_on(device)
    # What the first call of a shape sets up, later ones reuse.
    run()
    curve = MemoryCurve(0)
    with measured(curve, device, origin=clock()):
        once = run()
    del once
    return curve.peak or 0


def _in_turn(call: OperatorCall, device: torch.device) -> Callable[[], object]:
    """An operator that meets its tensors as in a run: in the processor's cache only if they are small."""
    sets = 1 if call.work.bytes <= NEAR else min(MOST_SETS, max(1, CACHE // call.work.bytes))
    turns = cycle([call.run_on(device) for _ in range(sets)])
    # Results are kept for a while, or the next call would find their memory in the cache.
    held: deque[Any] = deque(maxlen=sets)
    return lambda: held.append(next(turns)())


def _timings(call: Callable[[], object], device: torch.device, enough: float) -> list[float]:
    """Seconds of each of a few calls, until the device has done with it."""
    taken: list[float] = []
    while len(taken) < FEWEST or (sum(taken) < enough and len(taken) < MOST):
        synchronise(device)
        begin = clock()
        call()
        synchronise(device)
        taken.append(clock() - begin)
    return taken
