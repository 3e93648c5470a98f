"""Values of options, checked while the command line is read: before any model is loaded, with exit status 2."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from toolkit.distributed.comm.launched import launched_ranks
from toolkit.errors import ToolkitError
from toolkit.geometry import ShardPlan
from toolkit.runs.written import check_folder, check_writable


def count(text: str) -> int:
    """A number of things: a whole number of at least 1.

    Example:
        >>> count("2")
        2
        >>> count("0")
        Traceback (most recent call last):
        argparse.ArgumentTypeError: '0': must be a whole number of at least 1, such as 2.
    """
    return _whole(text, 1)


def amount(text: str) -> float:
    """A finite number above 0, such as frames per second.

    Example:
        >>> amount("nan")
        Traceback (most recent call last):
        argparse.ArgumentTypeError: 'nan': must be a finite number above 0, such as 16.
    """
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a finite number above 0, such as 16.")
    return number


def finite(text: str) -> float:
    """A number that is neither infinite nor NaN."""
    number = _number(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a finite number, such as 5.0.")
    return number


def output_file(endings: Sequence[str] = ()) -> Callable[[str], Path]:
    """A function that reads the path of a file to write, and refuses one that cannot be written.

    Args:
        endings: What its name may end in; empty: anything.
    """

    def read(text: str) -> Path:
        if endings and Path(text).suffix not in endings:
            raise argparse.ArgumentTypeError(f"{text!r}: must end in one of {', '.join(endings)}.")
        # Under a launcher this must wait until the ranks have joined: before, nobody would learn why this one ends.
        if launched_ranks() is None:
            with _as_argument():
                check_writable(text, "")
        return Path(text)

    return read


def output_folder(text: str) -> Path:
    """The path of a folder to write into, which is made if it does not exist."""
    with _as_argument():
        check_folder(text, "")
    return Path(text)


def per_axis(lowest: int) -> Callable[[str], int | dict[str, int]]:
    """A function that reads a size for all axes, ``12``, or one per axis, ``12x16`` (h and w) or ``h=12,w=16``.

    Args:
        lowest: The smallest size that makes sense.

    Example:
        >>> per_axis(1)("12"), per_axis(1)("12x16"), per_axis(1)("t=4,h=12,w=16")
        (12, {'h': 12, 'w': 16}, {'t': 4, 'h': 12, 'w': 16})
        >>> per_axis(1)("h=4,h=5")
        Traceback (most recent call last):
        argparse.ArgumentTypeError: 'h=4,h=5': names the axis h twice; give each axis once.
    """

    def read(text: str) -> int | dict[str, int]:
        if "=" not in text:
            ends = [_whole(size, lowest) for size in text.split("x")]
            if len(ends) > 2:
                raise argparse.ArgumentTypeError(
                    f"{text!r}: give one size, 12, h and w, 12x16, or names, t=4,h=12,w=16."
                )
            return ends[0] if len(ends) == 1 else dict(zip("hw", ends, strict=True))
        found: dict[str, int] = {}
        for part in text.split(","):
            axis, sign, size = (piece.strip() for piece in part.partition("="))
            if not sign or not axis:
                raise argparse.ArgumentTypeError(f"{text!r}: give one size, 12, or one per axis, h=12,w=16.")
            if axis in found:
                raise argparse.ArgumentTypeError(f"{text!r}: names the axis {axis} twice; give each axis once.")
            found[axis] = _whole(size, lowest)
        return found

    return read


def lattice(text: str) -> ShardPlan:
    """A lattice of shards along h and w from text such as ``2x1``.

    Example:
        >>> lattice("2x1")
        ShardPlan(2 x 1 shards, borders exchanged, attention gathered)
    """
    parts = text.split("x")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"{text!r}: give the number of shards along h and w, such as 2x1.")
    return ShardPlan(h=count(parts[0]), w=count(parts[1]))


def sizes(text: str) -> tuple[int, ...]:
    """A shape from text.

    Example:
        >>> sizes("1x16x21x90x160")
        (1, 16, 21, 90, 160)
    """
    return tuple(count(size) for size in text.split("x"))


def _whole(text: str, lowest: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = lowest - 1
    if number < lowest:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of at least {lowest}, such as 2.")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number, such as 16.") from error


@contextmanager
def _as_argument() -> Iterator[None]:
    """Let argparse print the toolkit's own refusals: of other errors it shows nothing but the value."""
    try:
        yield
    except ToolkitError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
