"""Which rank has which shard of a lattice, and how long the borders between hosts are.

Ranks fill one block of shards after the other. Two hosts with four ranks each, and 2 x 4 shards:

    rows          0 1 2 3      blocks of 2 x 2      0 1|4 5      the border between the hosts is two shards long
                  -------                           2 3|6 7      instead of four
                  4 5 6 7

Within a row or a column of shards, ranks ascend whatever the block is.

Columns along a border are sent after rows, and with the rows that have just arrived. So a border along w also carries
its corners, as long as there are shards above or below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from toolkit.errors import PlanError
from toolkit.geometry.checks import is_int, shown

Block = tuple[int, int]
"""Shards along h and along w that ranks fill before they go on."""


def place_of(rank: int, columns: int, block: Block | None) -> tuple[int, int]:
    """The place of a rank's shard along h and w.

    Args:
        rank: The rank.
        columns: Number of shards along w.
        block: The block; None: rows.

    Example:
        >>> [place_of(rank, 4, (2, 2)) for rank in range(5)]
        [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)]
    """
    if block is None:
        return divmod(rank, columns)
    down, across = block
    number, inside = divmod(rank, down * across)
    (i, j), (y, x) = divmod(number, columns // across), divmod(inside, across)
    return i * down + y, j * across + x


def rank_at(h: int, w: int, columns: int, block: Block | None) -> int:
    """The rank of the shard at a place: the inverse of :func:`place_of`.

    Example:
        >>> rank_at(0, 2, 4, (2, 2))
        4
    """
    if block is None:
        return h * columns + w
    down, across = block
    (i, y), (j, x) = divmod(h, down), divmod(w, across)
    return (i * (columns // across) + j) * down * across + y * across + x


def check_block(block: object, *, h: int, w: int) -> None:
    """Refuse a block that does not divide the lattice of shards.

    Example:
        >>> check_block((2, 3), h=2, w=4)
        Traceback (most recent call last):
        ...
        toolkit.errors.PlanError: block=(2, 3): 3 does not divide the 4 shards along w. Use a divisor, or None for rows.
    """
    if not isinstance(block, tuple) or len(block) != 2 or not all(is_int(size) and size >= 1 for size in block):
        raise PlanError(f"block={shown(block)}: must be a tuple of two ints of at least 1, the shards along h and w.")
    for axis, size, count in zip("hw", block, (h, w), strict=True):
        if count % size:
            raise PlanError(
                f"block={block}: {size} does not divide the {count} shards along {axis}. Use a divisor, or None for "
                "rows."
            )


class Lengths(NamedTuple):
    """The borders between shards.

    Attributes:
        between: Length of those between hosts.
        corners: Number of corners that travel between hosts.
        every: Length of all.
    """

    between: int
    corners: int
    every: int


def borders_of(heights: Sequence[int], widths: Sequence[int], block: Block | None, *, hosts: Sequence[int]) -> Lengths:
    """The length of the borders between shards.

    Args:
        heights: Rows of each part along h.
        widths: Columns of each part along w.
        block: The order of the ranks.
        hosts: The host of each rank.

    Example:
        >>> hosts = (0, 0, 0, 0, 1, 1, 1, 1)
        >>> for block in (None, (2, 2)):
        ...     print(borders_of((30, 30), (26, 26, 26, 26), block, hosts=hosts))
        Lengths(between=104, corners=0, every=284)
        Lengths(between=60, corners=2, every=284)
    """
    host = [[hosts[rank_at(i, j, len(widths), block)] for j in range(len(widths))] for i in range(len(heights))]
    between = corners = 0
    for i, j in product(range(len(heights)), range(len(widths))):
        if i + 1 < len(heights) and host[i][j] != host[i + 1][j]:
            between += widths[j]
        if j + 1 < len(widths) and host[i][j] != host[i][j + 1]:
            between += heights[i]
            corners += (i > 0) + (i + 1 < len(heights))
    every = (len(heights) - 1) * sum(widths) + (len(widths) - 1) * sum(heights)
    return Lengths(between, corners, every)


def best_order(heights: Sequence[int], widths: Sequence[int], hosts: Sequence[int]) -> Block | None:
    """The block with the shortest borders between hosts; None, for rows, unless another is shorter.

    Args:
        heights: Rows of each part along h.
        widths: Columns of each part along w.
        hosts: The host of each rank.

    Example:
        >>> best_order((30, 30), (26, 26, 26, 26), hosts=(0, 0, 0, 0, 1, 1, 1, 1))
        (2, 2)
    """
    orders: list[Block | None] = [None, *_blocks(len(heights), len(widths), set(Counter(hosts).values()))]
    return min(orders, key=lambda block: borders_of(heights, widths, block, hosts=hosts)[:2])


def _blocks(h: int, w: int, sizes: set[int]) -> Iterator[Block]:
    """Blocks as large as a host, and columns. Blocks of one row, or as wide as the lattice, are the order of rows."""
    for down in range(2, h + 1):
        if h % down:
            continue
        wanted = {size // down for size in sizes if size % down == 0} | ({1} if down == h else set())
        yield from ((down, across) for across in sorted(wanted, reverse=True) if across < w and w % across == 0)
