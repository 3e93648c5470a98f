"""Counts in words."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number and its noun, with a plural s unless the number is 1.

    Example:
        >>> counted(1, "rank"), counted(2, "rank")
        ('1 rank', '2 ranks')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_bytes(count: float) -> str:
    """A number of bytes in words.

    Example:
        >>> in_bytes(2_500_000), in_bytes(7e9)
        ('2.5 MB', '7.00 GB')
    """
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
