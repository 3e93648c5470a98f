"""Modules whose weights are on one rank only: every rank calls them, one computes, and all get the result.

    every rank   encoder(prompt)      the pipeline's own line
    the owner    computes, sends the result to every other rank
    the others   receive it

The VAE's decode is different, because it is the last thing that a pipeline does: only the output rank needs its result.
The other ranks leave the pipeline there, by an exception that the caller of the pipeline expects.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.rank import Rank
from toolkit.distributed.decoding import run_as
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


class LeavePipeline(BaseException):
    """Leaves a pipeline on a rank that has no part in what follows.

    It is not an Exception, because pipelines may catch those.
    """


@dataclass(slots=True, eq=False)
class RemoteModules:
    """Calls of modules that have weights on one rank only.

    Attributes:
        rank: This process.
        exchange: Its messages.
        ranks: Number of ranks that call the modules.
        links: The link to or from each other rank.
    """

    rank: Rank
    exchange: Exchange
    ranks: int
    links: dict[int, Link] = field(default_factory=dict)

    def called_on(self, owner: int, name: str, *, call: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a call so that every rank may make it, ``owner`` computes it, and all get the result.

        Args:
            owner: The rank that has the weights.
            name: The name of the call for the trace.
            call: A module, or one of its methods.
        """

        def everywhere(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = settled((args, kwargs))
            # Key and digest travel with the result, so ranks that were given different prompts notice it.
            key, number = f"{name} {signature((args, kwargs))}", digest((args, kwargs), self.rank.read)
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

    def encoder(self, name: str, module: nn.Module, *, owner: int) -> Any:
        """Make a twin of an encoder whose calls are computed on ``owner``."""
        return stand_in(module, self.called_on(owner, name, call=module))

    def vae(self, name: str, module: Any, *, plan: TilePlan | ShardPlan | None, root: int, agenda: Agenda) -> Any:
        """Make a twin of an autoencoder that encodes on ``root`` for all ranks, and decodes for ``root`` alone.

        The other ranks leave the pipeline at its decode. So the pipeline must not call its transformer after that; if
        it does, the agenda refuses the call.

        Args:
            name: The module's name in the pipeline.
            module: The autoencoder.
            plan: How a decode is divided; None: not at all.
            root: The rank that gets the sample.
            agenda: The agenda of the request; it is informed when the pipeline decodes.
        """
        twin = stand_in(module, module.forward)
        twin.encode = self.called_on(root, f"{name}.encode", call=module.encode)
        own = inspect.signature(module.decode)

        def decode(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = settled((args, kwargs))
            agenda.leave()
            if plan is None:
                if self.rank.member.rank != root:
                    raise LeavePipeline
                with self.rank.trace(Kind.WHOLE, Label(text=f"{name}.decode")):
                    return module.decode(*args, **kwargs)
            # Pipelines pass arguments by position or by name: bind them as the model's own signature does.
            bound = own.bind(*args, **kwargs)
            bound.apply_defaults()
            latent, *more = bound.arguments.items()
            given = {key: value for key, value in more if key != "return_dict" and value is not None}
            sample = self._decode(module, latent[1], plan=plan, given=given)
            if sample is None:
                raise LeavePipeline
            return SimpleNamespace(sample=sample) if bound.arguments.get("return_dict") else (sample,)

        twin.decode = decode
        return twin

    def _decode(self, vae: Any, latent: Tensor, *, plan: TilePlan | ShardPlan, given: dict[str, Any]) -> Tensor | None:
        # A decode with **kwargs of its own binds what it does not name as one argument called "kwargs".
        arguments = {key: value for key, value in given.items() if key != "kwargs"} | given.get("kwargs", {})
        return run_as(self.rank, vae, latent, plan, ModelCall(Direction.DECODE, Options(arguments=arguments)))

    def _link(self, peer: int) -> Link:
        if peer not in self.links:
            self.links[peer] = Link(self.exchange, peer)
        return self.links[peer]

    def close(self) -> None:
        """Wait until everything sent has left, and end the messages."""
        self.exchange.flush()
        self.exchange.close()
