"""Counts in words."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number and its noun, with a plural s unless the number is 1.

    Example:
        >>> counted(1, "rank"), counted(2, "rank")
        ('1 rank', '2 ranks')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
