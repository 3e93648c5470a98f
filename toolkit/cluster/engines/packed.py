"""Messages between processes as bytes, with the shared memory that they refer to beside them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.cluster.engines.block import Block


@dataclass(frozen=True, slots=True)
class Packed:
    """A pickled message without its blocks of shared memory, which travel in their own way.

    Whoever passes a message on need not unpickle it.

    Attributes:
        data: The pickle.
        blocks: The blocks that it refers to, by their places here.

    Example:
        >>> Packed.of(("call", 3)).load()
        ('call', 3)
    """

    data: bytes
    blocks: Sequence[Block] = ()

    @classmethod
    def of(cls, message: Any) -> Packed:
        """Pickle a message."""
        stream = io.BytesIO()
        pickler = _Pickler(stream)
        pickler.dump(message)
        return cls(stream.getvalue(), tuple(pickler.blocks))

    def load(self) -> Any:
        """The message."""
        return _Unpickler(self.data, self.blocks).load()


class _Pickler(pickle.Pickler):
    """Leaves out blocks."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, pickle.HIGHEST_PROTOCOL)
        self.blocks: list[Block] = []

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, Block):
            return None
        self.blocks.append(obj)
        return len(self.blocks) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, blocks: Sequence[Block]) -> None:
        super().__init__(io.BytesIO(data))
        self._blocks = blocks

    def persistent_load(self, place: Any) -> Block:
        return self._blocks[place]
