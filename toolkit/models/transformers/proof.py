"""A proof: the value that says a transformer in stages computed, bit by bit, what the whole one did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch

from toolkit.errors import PlanError
from toolkit.geometry.stage_split import StageSplit

Form: TypeAlias = tuple[tuple[int, ...], torch.dtype]
"""Shape and dtype of a tensor."""


@dataclass(frozen=True, repr=False)
class Proof:
    """That a split transformer computed, bit by bit, what the whole one did. Without equality there is no proof.

    A proof is a value: it can be pickled, sent to other ranks, kept in a file, and passed as ``proof=`` to whatever
    would otherwise look for one itself. It speaks for the class in its attribute ``cls``.

    Attributes:
        cls: The name of the transformer's class.
        split: Its layers in stages.
        outputs: Shapes and dtypes of the tensors that were compared.
        payloads: Shapes and dtypes of the tensors that each stage but the last passes to the next.
        latents: The stages that need the values of the latents: ``"first"``, or ``"every"`` for a class whose entry
            says so. The others were given NaN.

    Raises:
        PlanError: If the fields contradict each other.

    Example:
        >>> from toolkit.models.transformers.split_check import prove
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> flux = transformer("Flux")
        >>> prove(flux.build(), StageSplit.even(5, stages=3), **flux.inputs())
        FluxTransformer2DModel in StageSplit(5 layers in 3 stages: 2 2 1): equal bit by bit
          compared    1x16x4 float32
          stage 0->1  1x8x64 float32, 1x16x64 float32: 6144 bytes
          stage 1->2  1x8x64 float32, 1x16x64 float32: 6144 bytes
          latents     needed by the first stage
    """

    cls: str
    split: StageSplit
    outputs: tuple[Form, ...]
    payloads: tuple[tuple[Form, ...], ...]
    latents: str

    def __post_init__(self) -> None:
        if not isinstance(self.cls, str) or not self.cls:
            raise PlanError(f"cls={self.cls!r}: must be the name of a transformer's class.")
        if not isinstance(self.split, StageSplit):
            raise PlanError(f"split={self.split!r}: must be a StageSplit.")
        if not self.outputs:
            raise PlanError("outputs=(): a proof compares at least one tensor.")
        # n stages have n - 1 borders between them.
        if len(self.payloads) != len(self.split.stages) - 1:
            raise PlanError(f"{len(self.payloads)} payloads for {self.split!r}: give one for each stage but the last.")
        if self.latents not in ("first", "every"):
            raise PlanError(f"latents={self.latents!r}: must be 'first' or 'every'.")

    @property
    def payload_bytes(self) -> tuple[int, ...]:
        """Bytes between each stage and the next."""
        return tuple(sum(torch.Size(shape).numel() * dtype.itemsize for shape, dtype in row) for row in self.payloads)

    def __repr__(self) -> str:
        crossing = [
            f"  stage {stage}->{stage + 1}  {_say(forms)}: {size} bytes"
            for stage, (forms, size) in enumerate(zip(self.payloads, self.payload_bytes, strict=True))
        ]
        lines = [f"{self.cls} in {self.split!r}: equal bit by bit", f"  compared    {_say(self.outputs)}", *crossing]
        stages = "the first stage" if self.latents == "first" else "every stage"
        return "\n".join([*lines, f"  latents     needed by {stages}"])


def _say(forms: tuple[Form, ...]) -> str:
    return ", ".join(f"{'x'.join(map(str, shape))} {str(dtype).removeprefix('torch.')}" for shape, dtype in forms)
