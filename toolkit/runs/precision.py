"""The precision in force: how different two computations of the same numbers may be, by rounding alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Tf32:
    """This process's settings of TF32, which CUDA devices may compute float32 in: ``"tf32"``, or another word for off.

    They are read where torch 2.9 put them. The older ``allow_tf32`` raises once somebody has set one of these.

    Attributes:
        convolutions: cuDNN's convolutions, where it is on by default.
        products: Products of matrices, where it is off by default.
    """

    convolutions: str
    products: str

    @classmethod
    def current(cls) -> Tf32:
        """The settings now.

        Example:
            >>> Tf32.current()
            Tf32(convolutions='tf32', products='none')
        """
        convolutions: str = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
        return cls(convolutions, torch.backends.cuda.matmul.fp32_precision)

    def apply(self) -> None:
        """Make these the settings of this process. Nothing is written that is so already."""
        now = self.current()
        if now.convolutions != self.convolutions:
            torch.backends.cudnn.conv.fp32_precision = self.convolutions  # type: ignore[attr-defined]
        if now.products != self.products:
            torch.backends.cuda.matmul.fp32_precision = self.products


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
        tf32 = Tf32.current()
        if dtype == torch.float32 and device_type == "cuda" and "tf32" in (tf32.convolutions, tf32.products):
            # 10 bits of mantissa in place of 23; 3.6e-4 to 5e-4 were measured between shards and whole.
            return cls("TF32", 5e-3)
        return cls(str(dtype).removeprefix("torch."), {torch.float64: 1e-5, torch.float32: 1e-4}.get(dtype, 0.1))
