"""The precision in force: how different two computations of the same numbers may be, by rounding alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from toolkit.runs import device as devices


@dataclass(frozen=True, slots=True)
class Precision:
    """How a device rounds.

    Attributes:
        name: The format of the products, such as ``"float32"`` or ``"TF32"``.
        rounding: The largest difference, relative to the largest value, that rounding can explain. A rule of exact
            shards that is missing makes differences above 1e-3 in single precision.
    """

    name: str
    rounding: float

    @classmethod
    def of(cls, dtype: torch.dtype, device_type: str) -> Precision:
        """The precision of models of a dtype on a type of device, with this process's settings.

        Models that compute in single precision inside are held to its rounding in double precision too.

        Example:
            >>> Precision.of(torch.float32, "cpu"), Precision.of(torch.bfloat16, "cpu").name
            (Precision(name='float32', rounding=0.0001), 'bfloat16')
        """
        if dtype == torch.float32 and devices.rounds_to_tf32(device_type):
            # 10 bits of mantissa in place of 23; 3.6e-4 to 5e-4 were measured between shards and whole.
            return cls("TF32", 5e-3)
        return cls(str(dtype).removeprefix("torch."), {torch.float64: 1e-5, torch.float32: 1e-4}.get(dtype, 0.1))
