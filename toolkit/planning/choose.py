"""Choosing a plan from predictions, and saying why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from torch import Tensor

from toolkit.errors import PlanError
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.direction import Direction, DirectionName
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.options import Options
from toolkit.models.protocols import Autoencoder
from toolkit.planning.cost import CallCost, call_cost
from toolkit.planning.predict import Prediction, Task, in_bytes

WORTHWHILE = 1.0
"""Seconds of work on one rank below which starting, sending and waiting probably cost more than ranks gain."""
_UNMODELLED = (
    "Not modelled: messages between ranks (shards exchange borders before every convolution and may lose to tiles over "
    "a slow link), keys and values that shards gather for attention, and the working memory of blends and kernels."
)


@dataclass(frozen=True, repr=False)
class Choice:
    """A plan, the reason why it was chosen, and the predictions for all candidates.

    Attributes:
        plan: The plan to give to ``decode`` or ``encode``; None: do not divide the work.
        reason: Why, in one paragraph.
        predictions: The predictions for every candidate, the quickest first.
    """

    plan: TilePlan | ShardPlan | None
    reason: str
    predictions: tuple[Prediction, ...]

    def __repr__(self) -> str:
        width = max(len(p.name) for p in self.predictions)
        lines = [
            f"  {p.name:{width}}  {p.time:5.2f}x the time  {in_bytes(p.peak):>8} per rank  {_exactness(p)}"
            for p in self.predictions
        ]
        return "\n".join([f"Choice({self.plan!r})", self.reason, *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(p.name)}</td><td>{p.time:.2f}</td><td>{in_bytes(p.peak)}</td><td>{_exactness(p)}</td></tr>"
            for p in self.predictions
        )
        head = "<tr><th></th><th>time, relative to one rank</th><th>peak per rank</th><th></th></tr>"
        return f"<p><b>{escape(repr(self.plan))}</b></p><p>{escape(self.reason)}</p><table>{head}{rows}</table>"


def plan(
    vae: Autoencoder,
    latent: Tensor | Sequence[int],
    ranks: int,
    memory: int | None = None,
    exact: bool = False,
    *,
    direction: DirectionName = "decode",
    arguments: Mapping[str, Any] | None = None,
    cost: CallCost | None = None,
) -> Choice:
    """Choose how to divide a decode or encode over ranks, from predictions.

    Shards are preferred to tiles that take about as long, because shards are exact. Work that one rank does in a second
    is not divided. The model runs on small inputs to measure its memory, its speed and its receptive field.

    Args:
        vae: A diffusers autoencoder. It is left as it was found.
        latent: The input of the call, or its shape.
        ranks: Number of ranks.
        memory: The most bytes that any rank may hold, the model's weights included; None: no limit.
        exact: Whether the result must equal that of the whole input, to rounding.
        direction: The model call to make. For encode, ``latent`` is the sample.
        arguments: Further arguments of the call.
        cost: The cost of a cell; None: measure it on this process's device and threads.

    Returns:
        The plan (None: do not divide the work), with its reason and the predictions that it rests on.

    Raises:
        PlanError: If no candidate fits the memory, with the numbers; or if there is less than one rank.

    Example:
        >>> from toolkit.models import demo
        >>> choice = plan(demo.image_vae(), (1, 16, 90, 128), ranks=2, cost=CallCost(200_000, 768, 4_000_000, 0.001))
        >>> choice.plan
        ShardPlan(1 x 2 shards, borders exchanged, attention gathered)
        >>> plan(demo.image_vae(), (1, 16, 20, 20), ranks=2, cost=CallCost(200_000, 768, 4_000_000, 0.001)).plan is None
        True
    """
    if isinstance(ranks, bool) or not isinstance(ranks, int) or ranks < 1:
        raise PlanError(f"ranks={ranks!r}: must be an int of at least 1.")
    if memory is not None and not isinstance(memory, int | float):
        raise PlanError(f"memory={memory!r}: must be a number of bytes, such as 16 * 10**9 for 16 GB.")
    shape = tuple(latent.shape) if isinstance(latent, Tensor) else tuple(latent)
    call = ModelCall(Direction.of(direction), Options(arguments=arguments or {}, seed=0))
    cost = cost or call_cost(vae, shape, call)
    task = Task(vae, shape, call, ranks, cost)
    considered = sorted(task.predictions(), key=lambda p: (p.time, not p.exact))
    possible = [p for p in considered if p.exact or not exact]
    fitting = [p for p in possible if memory is None or p.peak <= memory]
    if not fitting:
        least = min(possible, key=lambda p: p.peak)
        raise PlanError(
            f"memory={in_bytes(memory or 0)} per rank: the least that any {'exact ' if exact else ''}plan needs is "
            f"{in_bytes(least.peak)} ({least.name}; {in_bytes(cost.weight_bytes)} of it are weights). Use more ranks, "
            "your own smaller tiles, or a narrower dtype."
        )
    best, why = _pick(fitting, task)
    over = len(possible) - len(fitting)
    limits = [f"{over} of {len(possible)} candidates need more than {in_bytes(memory)}."] if memory and over else []
    return Choice(best.plan, " ".join([why, *limits, *task.notes, _UNMODELLED]), tuple(considered))


def _pick(fitting: Sequence[Prediction], task: Task) -> tuple[Prediction, str]:
    """The best of the predictions that fit, and why."""
    whole = next((p for p in fitting if p.plan is None), None)
    each = task.cost.seconds * 1000
    whole_takes = f"One rank would take about {task.seconds:.2g} s ({task.cells} latent cells of {each:.2g} ms)"
    if whole is not None and task.seconds < WORTHWHILE:
        return whole, f"{whole_takes}: too little to gain from dividing the work. Do not parallelise."
    exact = next((p for p in fitting if p.exact), None)
    best = exact if exact is not None and exact.time <= 1.1 * fitting[0].time else fitting[0]
    if best.plan is None:
        return best, f"{whole_takes}, and no plan for {task.ranks} ranks is quicker. Do not parallelise."
    quality = "exact to rounding" if best.exact else "approximate: tiles do not see each other and are blended at seams"
    if not best.exact and task.normalises:
        quality += "; each is normalised on its own, unless you give norm_passes=, where each pass costs another run"
    need = "" if whole is not None else ", and does not have the memory for it"
    return best, (
        f"{whole_takes}{need}. With {best.name} over {task.ranks} ranks, the busiest rank computes for {best.time:.2f} "
        f"of that time, and no rank holds more than about {in_bytes(best.peak)}. The result is {quality}."
    )


def _exactness(prediction: Prediction) -> str:
    return "exact" if prediction.exact else "approximate"
