"""Modules that live on one rank: called everywhere, computed there, the result told to all."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from toolkit.distributed import decoding
from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.stages.agenda import Agenda
from toolkit.distributed.stages.deferred import settled
from toolkit.distributed.stages.link import Link
from toolkit.distributed.stages.signature import digest, signature
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.options import Options
from toolkit.models.transformers.ghost import stand_in
from toolkit.runs.trace import Kind, Label


class Left(BaseException):
    """Leaves a pipeline on a rank that has no part in what follows. No Exception, which the pipeline might catch."""


@dataclass(slots=True, eq=False)
class Elsewhere:
    """Calls of modules that have weights on one rank only.

    Attributes:
        rank: this process.
        exchange: its messages.
        ranks: how many ranks call the modules.
        links: to or from each other rank.
    """

    rank: Rank
    exchange: Exchange
    ranks: int
    links: dict[int, Link] = field(default_factory=dict)

    def told(self, name: str, call: Callable[..., Any], owner: int) -> Callable[..., Any]:
        """``call`` as every rank calls it: made on ``owner``, its result on all.

        Args:
            name: for the trace.
            call: a module's method.
            owner: the rank that has the weights.
        """

        def everywhere(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = settled((args, kwargs))
            key, number = f"{name} {signature((args, kwargs))}", digest((args, kwargs))
            label = Label(text=name)
            if self.rank.member.rank != owner:
                return self._link(owner).receive(key, number, label)
            with self.rank.trace(Kind.WHOLE, label):
                result = call(*args, **kwargs)
            for other in range(self.ranks):
                if other != owner:
                    self._link(other).send(result, key, number, label)
            return result

        return everywhere

    def encoder(self, name: str, module: nn.Module, owner: int) -> Any:
        """A twin of an encoder whose calls are made on ``owner``."""
        return stand_in(module, self.told(name, module, owner))

    def vae(self, name: str, module: Any, plan: TilePlan | ShardPlan | None, root: int, agenda: Agenda) -> Any:
        """A twin of an autoencoder: it encodes on ``root`` for all, and decodes by the plan, for ``root`` alone.

        The other ranks leave the pipeline there. The last thing that a pipeline does with its transformer must have
        been done by then; the agenda refuses a call that comes later.
        """
        twin = stand_in(module, module.forward)
        twin.encode = self.told(f"{name}.encode", module.encode, root)
        own = inspect.signature(module.decode)

        def decode(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = settled((args, kwargs))
            agenda.leave()
            if plan is None:
                if self.rank.member.rank != root:
                    raise Left
                with self.rank.trace(Kind.WHOLE, Label(text=f"{name}.decode")):
                    return module.decode(*args, **kwargs)
            bound = own.bind(*args, **kwargs)
            bound.apply_defaults()
            latent, *more = bound.arguments.items()
            given = {key: value for key, value in more if key != "return_dict" and value is not None}
            sample = self._decode(module, latent[1], plan, given)
            if sample is None:
                raise Left
            return SimpleNamespace(sample=sample) if bound.arguments.get("return_dict") else (sample,)

        twin.decode = decode
        return twin

    def _decode(self, vae: Any, latent: Tensor, plan: TilePlan | ShardPlan, given: dict[str, Any]) -> Tensor | None:
        arguments = {key: value for key, value in given.items() if key != "kwargs"} | given.get("kwargs", {})
        call = ModelCall(Direction.DECODE, Options(arguments=arguments))
        member, rank = self.rank.member, self.rank
        return decoding.run(vae, latent, plan, call, member.group, trace=rank.trace, convolutions=rank.convolutions)

    def _link(self, peer: int) -> Link:
        if peer not in self.links:
            self.links[peer] = Link(self.exchange, peer)
        return self.links[peer]

    def close(self) -> None:
        """Wait until all that was sent has left."""
        self.exchange.flush()
        self.exchange.close()
