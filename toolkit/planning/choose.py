"""Choosing a plan by what can be predicted of it, and saying why."""

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
"""Seconds of one rank's work below which starting, sending and waiting are likely to cost what is gained."""
_UNMODELLED = (
    "Not modelled: messages between ranks (shards exchange borders before every convolution and may lose to tiles over "
    "a slow link), keys and values that shards gather for attention, and what blends and kernels allocate beside."
)


@dataclass(frozen=True, repr=False)
class Choice:
    """A plan, why it was chosen, and what was predicted of all.

    Attributes:
        plan: the plan to give to ``decode`` or ``encode``; None: do not divide the work.
        reason: why, in one paragraph.
        predictions: of every way that was considered, the quickest first.
    """

    plan: TilePlan | ShardPlan | None
    reason: str
    predictions: tuple[Prediction, ...]

    def __repr__(self) -> str:
        width = max(len(p.name) for p in self.predictions)
        lines = [
            f"  {p.name:{width}}  {p.time:5.2f}x the time  {in_bytes(p.peak):>8} a rank  {_exactness(p)}"
            for p in self.predictions
        ]
        return "\n".join([f"Choice({self.plan!r})", self.reason, *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(p.name)}</td><td>{p.time:.2f}</td><td>{in_bytes(p.peak)}</td><td>{_exactness(p)}</td></tr>"
            for p in self.predictions
        )
        head = "<tr><th></th><th>time, of one rank's</th><th>peak a rank</th><th></th></tr>"
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
    """Choose how to divide a decode or encode over ranks, from what can be predicted.

    Shards are taken before tiles that take about as long, as they are exact; nothing is divided that one rank has done
    in a second. The model runs on small inputs for its memory, its speed and its receptive field.

    Args:
        vae: a diffusers autoencoder; it is left as it was found.
        latent: the input of the call, or its shape.
        ranks: how many ranks there are.
        memory: most bytes that any rank may hold, the model's weights among them; None: any.
        exact: whether the result must be that of the whole, to rounding.
        direction: which call; for encode, ``latent`` is the sample.
        arguments: further arguments of the call.
        cost: what a cell costs; measured on this process's device and threads where None.

    Returns:
        The plan (or None: do not divide) with its reason and the predictions it rests on.

    Raises:
        PlanError: where no way fits the memory, with the numbers; for less than one rank.

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
        raise PlanError(f"memory={memory!r}: must be a number of bytes, as 16 * 10**9 for 16 GB.")
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
            f"memory={in_bytes(memory or 0)} a rank: the least that any {'exact ' if exact else ''}way needs is "
            f"{in_bytes(least.peak)} ({least.name}; {in_bytes(cost.weight_bytes)} of it are weights). Use more ranks, "
            "smaller tiles of your own, or a narrower dtype."
        )
    best, why = _pick(fitting, task)
    over = len(possible) - len(fitting)
    limits = [f"{over} of {len(possible)} ways need more than {in_bytes(memory)}."] if memory and over else []
    return Choice(best.plan, " ".join([why, *limits, *task.notes, _UNMODELLED]), tuple(considered))


def _pick(fitting: Sequence[Prediction], task: Task) -> tuple[Prediction, str]:
    """The best of what fits, and why."""
    whole = next((p for p in fitting if p.plan is None), None)
    each = task.cost.seconds * 1000
    whole_takes = f"One rank would take about {task.seconds:.2g} s ({task.cells} latent cells of {each:.2g} ms)"
    if whole is not None and task.seconds < WORTHWHILE:
        return whole, f"{whole_takes}: too little to gain from dividing it. Do not parallelise."
    exact = next((p for p in fitting if p.exact), None)
    best = exact if exact is not None and exact.time <= 1.1 * fitting[0].time else fitting[0]
    if best.plan is None:
        return best, f"{whole_takes}, and no way of dividing it over {task.ranks} ranks is quicker. Do not parallelise."
    quality = "exact to rounding" if best.exact else "approximate: tiles do not see each other, and blend at seams"
    if not best.exact and task.normalises:
        quality += "; each is normalised on its own, unless norm_passes= is given, at the cost of a run for each pass"
    need = "" if whole is not None else ", and has not the memory for it"
    return best, (
        f"{whole_takes}{need}. By {best.name} over {task.ranks} ranks, the busiest rank computes for {best.time:.2f} "
        f"of that time, and no rank holds more than about {in_bytes(best.peak)}. The result is {quality}."
    )


def _exactness(prediction: Prediction) -> str:
    return "exact" if prediction.exact else "approximate"
