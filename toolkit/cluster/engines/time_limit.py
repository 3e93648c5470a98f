"""A ``timeout=`` as users give it."""

from __future__ import annotations

from toolkit.errors import PlanError
from toolkit.geometry.checks import is_number, shown

LONGEST = 366 * 24 * 3600
"""The longest time-out, in seconds: a year. Those of threads and of torch cannot be longer than some centuries."""


def time_limit(timeout: object) -> float | None:
    """A ``timeout=`` of a call or a wait, checked: no number is above NaN, so with it there would be no limit.

    Returns:
        Seconds; None: no limit.

    Raises:
        PlanError: For anything but None and a number of seconds from 0 to a year.

    Example:
        >>> time_limit(None), time_limit(2)
        (None, 2.0)
        >>> time_limit(float("nan"))
        Traceback (most recent call last):
        toolkit.errors.PlanError: timeout=nan: must be a number of seconds from 0 to 31622400, or None for no limit.
    """
    if timeout is None:
        return None
    if not is_number(timeout) or not 0 <= float(timeout) <= LONGEST:  # type: ignore[arg-type]
        raise PlanError(
            f"timeout={shown(timeout)}: must be a number of seconds from 0 to {LONGEST}, or None for no limit."
        )
    return float(timeout)  # type: ignore[arg-type]
