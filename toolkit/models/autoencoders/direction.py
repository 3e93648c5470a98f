"""The two calls of an autoencoder."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from toolkit.errors import PlanError


class Direction(StrEnum):
    """Which of an autoencoder's two calls is meant. Members equal the plain strings, which every function takes too.

    Example:
        >>> Direction.DECODE == "decode", f"{Direction.ENCODE}d"
        (True, 'encoded')
    """

    DECODE = "decode"
    ENCODE = "encode"

    @classmethod
    def of(cls, value: DirectionName) -> Direction:
        """Turn a plain string into a member.

        Raises:
            PlanError: If the string names neither call.
        """
        try:
            return cls(value)
        except ValueError:
            raise PlanError(f"direction={value!r}: must be one of {', '.join(cls)}.") from None


DirectionName = Direction | Literal["decode", "encode"]
