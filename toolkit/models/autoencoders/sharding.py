"""How a model's call is cut into exact shards, and whether it can be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.shard_plan import AXES, ShardPlan
from toolkit.models.autoencoders.autoencoder_entry import AutoencoderEntry, Borders
from toolkit.models.autoencoders.autoencoder_table import AUTOENCODER_ENTRIES, entry_of
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.models.protocols import Autoencoder


@dataclass(frozen=True, slots=True)
class Sharding:
    """How a model's call is cut into shards.

    Attributes:
        name: The name of the model's class.
        call: The model call to make.
        ratio: Sample pixels per latent cell.
        entry: What is known of the class; None if nothing is.
    """

    name: str
    call: ModelCall
    ratio: int
    entry: AutoencoderEntry | None = None

    @property
    def borders(self) -> Borders | None:
        """The part of the decoder that can do without messages between shards; None if there is none."""
        return None if self.entry is None else self.entry.borders

    @property
    def border_module(self) -> str | None:
        """The decoder's module from which on borders are recomputed; None: from the beginning."""
        return (self.borders and self.borders.module) or None

    def parts(self, plan: ShardPlan, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the rows of each rank's part of the input along each axis, in the input's own units.

        A sample is cut between latent cells. Pixels beyond the last whole cell go to the last shard.

        Raises:
            PlanError: If a shard would have fewer latent cells than it needs.
            ModelError: If borders are to be recomputed and the class is not known to allow it.
        """
        decodes = self.call.direction == Direction.DECODE
        if plan.borders == "recompute":
            self._check_recompute(decodes)
        if len(shape) not in (4, 5):
            raise PlanError(f"input of shape {shape}: {self.name} {self.call.direction}s b c h w or b c t h w.")
        sizes = dict(zip(AXES, shape[-2:], strict=True))
        if decodes:
            return plan.parts(sizes)
        # Encode: cells are divided as for decode, so that a sample and its latent have the same shards.
        cells = plan.parts({axis: size // self.ratio for axis, size in sizes.items()})
        pixels = {}
        for axis, parts in cells.items():
            scaled = [part * self.ratio for part in parts]
            # A size that is not a multiple of the ratio has pixels beyond its last cell.
            scaled[-1] += sizes[axis] - sum(scaled)
            pixels[axis] = tuple(scaled)
        return pixels

    def _check_recompute(self, decodes: bool) -> None:
        if not decodes:
            raise PlanError(
                "borders='recompute' is for decode: an encoder's last layers see the whole map. Use borders='exchange'."
            )
        if self.borders is None:
            known = [name for name, entry in AUTOENCODER_ENTRIES.items() if entry.borders is not None]
            raise ModelError(
                f"borders='recompute' with {self.name}: only {', '.join(known)} are known to allow it. Use "
                "borders='exchange', or exact tiles if no operation of the class sees the whole map."
            )

    def check(self, plan: ShardPlan, shape: tuple[int, ...]) -> dict[str, int]:
        """Refuse a plan that does not fit an input; return the sample's ratio along each axis."""
        self.parts(plan, shape)
        return dict.fromkeys(AXES, self.ratio)

    @contextmanager
    def prepared(self, vae: Autoencoder) -> Iterator[None]:
        """Set on a borrowed model what its class needs on shards; the loan undoes it."""
        if self.entry is not None and self.entry.prepare is not None:
            self.entry.prepare(vae)
        yield


def shards_refused(vae: object, direction: Direction) -> str | None:
    """Return why a model's class cannot run on shards in one direction; None if nothing speaks against it."""
    entry = entry_of(type(vae))
    return None if entry is None else entry.no_shards.get(direction)


def sharding_of(vae: Autoencoder, call: ModelCall) -> Sharding:
    """Find how a model's call is cut into shards.

    A class without an entry is not refused: its operations are checked one by one while it runs.

    Raises:
        ModelError: If the class is known not to work on shards.
    """
    name, reason = type(vae).__name__, shards_refused(vae, call.direction)
    if reason is not None:
        raise ModelError(f"{name}.{call.direction} cannot be sharded exactly: {reason}. Use the model's own call.")
    return Sharding(name, call, spatial_ratio(vae), entry_of(type(vae)))
