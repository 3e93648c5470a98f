"""Inputs of other dtypes than the weights' that a class's own call takes, and computes right."""

from __future__ import annotations

import torch


def any_real(given: torch.dtype, weight: torch.dtype) -> bool:
    """The call begins by casting its input to the dtype of its weights, so any real numbers do."""
    return not given.is_complex


def promoted(given: torch.dtype, weight: torch.dtype) -> bool:
    """The call begins with arithmetic between its input and a float32 tensor, so narrower numbers are promoted.

    Example:
        >>> promoted(torch.float16, torch.float32), promoted(torch.float64, torch.float32)
        (True, False)
    """
    one_byte_float = given.is_floating_point and given.itemsize == 1
    return not one_byte_float and torch.promote_types(given, torch.float32) == weight == torch.float32


def divided(given: torch.dtype, weight: torch.dtype) -> bool:
    """The call begins by dividing its input, which makes torch's default dtype of integers.

    Example:
        >>> divided(torch.uint8, torch.float32), divided(torch.float16, torch.float32)
        (True, False)
    """
    return not given.is_floating_point and not given.is_complex and weight == torch.get_default_dtype()
