"""What the toolkit knows of one autoencoder class: the form of an entry in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from toolkit.errors import PlanError
from toolkit.models.autoencoders.direction import Direction
from toolkit.models.autoencoders.recipe import BOTH, Recipe

OwnCall = Callable[[Any, Tensor], Tensor]
"""Computes a whole input with a model that has no call for it."""
Prepare = Callable[[Any], None]
"""Sets on a borrowed model what shards of it need; the loan undoes it."""
Casts = Callable[[torch.dtype, torch.dtype], bool]
"""From the dtypes of an input and of a weight to whether a class's own call brings them together, and is right."""


@dataclass(frozen=True, slots=True)
class Borders:
    """The part of a decoder that can run on shards without messages, because nothing in it sees the whole map.

    Attributes:
        module: The decoder's module from which on this holds; what comes before is computed in full by every rank.
            Empty: it holds from the beginning.
    """

    module: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.module, str):
            raise PlanError(f"module={self.module!r}: must be the path of one of the decoder's modules.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderEntry:
    """All that the toolkit knows of one autoencoder class.

    Attributes:
        reason: What is particular to the class, and why. Empty only if nothing is.
        tiles: How its tiles are computed. None: the class does not work in tiles.
        no_tiles: Why it does not.
        no_shards: The directions that cannot run on exact shards, with the reason.
        prepare: The function that changes a borrowed model before a call on shards.
        borders: From where on its decoder can do without messages between shards (``borders="recompute"``). None: it
            cannot. Either every layer sees the whole map (GroupNorm), or a layer remembers a map's shape across a
            convolution, which consumes rows here (LTX, Kandinsky 6). Tiles with an overlap as large as the receptive
            field do the same for these.
        own_calls: The functions that compute a whole input, for a class that has no such call itself.
        casts: The rules for inputs of other dtypes than the weights', for a class whose call takes some.

    Raises:
        PlanError: If fields contradict each other, or something particular is given without a reason.
    """

    reason: str = ""
    tiles: Recipe | None = None
    no_tiles: str = ""
    no_shards: Mapping[Direction, str] = field(default_factory=dict)
    prepare: Prepare | None = None
    borders: Borders | None = None
    own_calls: Mapping[Direction, OwnCall] = field(default_factory=dict)
    casts: Mapping[Direction, Casts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.tiles is None) == (not self.no_tiles):
            raise PlanError(f"tiles={self.tiles!r}, no_tiles={self.no_tiles!r}: give one of tiles or no_tiles.")
        for name in ("no_shards", "own_calls", "casts"):
            if not set(getattr(self, name)) <= set(BOTH):
                raise PlanError(f"{name}={getattr(self, name)!r}: its keys must be directions.")
        # "Nothing to be equal to" is a claim that a test can check, so it must say what is wrong with the class's own.
        if self.tiles is not None and set(self.tiles.mirrors) != set(BOTH) and not self.tiles.unlike:
            raise PlanError(f"mirrors={self.tiles.mirrors}: say in unlike= why not in both directions.")
        # What changes a model's results, or stands for its code, must not stay unexplained.
        special = {"prepare": self.prepare, "own_calls": self.own_calls}
        for name, value in special.items():
            if value and not self.reason:
                raise PlanError(f"{name}={value!r}: give the reason for it.")
