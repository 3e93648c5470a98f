"""The HTML of each plan in a notebook. Takes plain integers and spans only, so that plans can import this module."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from toolkit.geometry.drawing.html import bar, cell, chip, table, view, word
from toolkit.geometry.drawing.svg_blend import draw_blend
from toolkit.geometry.drawing.svg_grid import draw_grid
from toolkit.geometry.drawing.svg_strip import draw_strip
from toolkit.geometry.span import Span

MOST_ROWS = 16
"""Most ranks that a table lists."""

MOST_INDICES = 8
"""Most tile indices that a row of a table lists."""

_Rows = tuple[tuple[Span, ...], ...]

_MERGES = {
    "window": "A weighted sum of tiles. Weights add up to one at every cell, so the order of tiles does not matter.",
    "crop": "Every overlap is cut in the middle. Nothing is mixed, so the order of tiles does not matter.",
    "cascade": "Each tile is blended in place into its upper and then its left neighbour, both already blended. So "
    "the order of tiles matters.",
}
_CORNERS = {
    "window": "one quarter of each",
    "crop": "one tile only",
    "cascade": "3/8 upper left,\n1/8 upper right,\n1/4 lower left,\n1/4 lower right",
}


def grid_view(axes: tuple[str, ...], rows: _Rows, *, facts: str) -> str:
    """One line per axis, beside the grid with the index of each tile.

    Args:
        axes: Axis names.
        rows: The spans along each axis.
        facts: Further facts, in one sentence.
    """
    lines = []
    for axis, row in zip(axes, rows, strict=True):
        sizes, overlaps = _range(map(len, row)), _range(len(a & b) for a, b in pairwise(row))
        lines.append([word(axis), cell(row[-1].stop), cell(len(row)), cell(sizes), cell(overlaps)])
    picture = draw_grid(axes, rows, summary=f"Tiles of {_extents(axes, rows)}, by index: {facts}")
    head = ["axis", "extent", "tiles", "tile", "overlap"]
    return view("TileGrid", facts, table=table(head, lines, words=["axis"]), picture=picture)


def assignment_view(owners: Sequence[int], counts: Sequence[int], *, facts: str) -> str:
    """One line per rank, beside the tiles in order.

    Args:
        owners: The rank of each tile.
        counts: Number of tiles of each rank.
        facts: Further facts, in one sentence.
    """
    tiles: defaultdict[int, list[int]] = defaultdict(list)
    for index, rank in enumerate(owners):
        if len(tiles[rank]) <= MOST_INDICES:
            tiles[rank].append(index)
    lines = [
        [chip(rank), bar(count, max(counts)), cell(_percent(count, len(owners))), word(_some(tiles[rank]) or "idle")]
        for rank, count in enumerate(counts[:MOST_ROWS])
    ]
    if rest := counts[MOST_ROWS:]:
        part = _percent(sum(rest), len(owners))
        lines.append([cell(f"{len(rest)} more"), cell(sum(rest)), cell(part), word(_idle(rest))])
    picture = draw_strip(owners, f"The rank of each tile, in order: {facts}")
    return view(
        "Assignment", facts, table=table(["rank", "tiles", "of all", "which"], lines, words=["which"]), picture=picture
    )


def blend_view(ramp: str, merge: str, *, facts: str) -> str:
    """A description of the merge, beside the weights over one overlap."""
    kind = "crop" if ramp == "crop" else merge
    rows = {"ramp": ramp, "merge": merge, "in the middle of four tiles": _CORNERS[kind]}
    lines = [[word(name), word(value)] for name, value in rows.items()]
    picture = draw_blend(ramp, merge, summary=f"Weights of two tiles over their overlap, {ramp} ramp. {_MERGES[kind]}")
    return view(facts, _MERGES[kind], table=table([], lines), picture=picture)


def plan_view(
    axes: tuple[str, ...],
    rows: _Rows,
    *,
    owners: Sequence[int],
    ledger: Sequence[tuple[int, int, int, int]],
    facts: str,
    root: int,
) -> str:
    """One line per rank, beside the grid with the rank of each tile.

    Args:
        axes: Axis names.
        rows: The spans along each axis.
        owners: The rank of each tile.
        ledger: Number of tiles, and cells computed, sent and received, of each rank.
        facts: Further facts, in one sentence.
        root: The rank that ends up with the output.
    """
    busiest, whole = max(work for _, work, *_ in ledger), sum(work for _, work, *_ in ledger)
    lines = []
    for rank, (tiles, work, *moved) in enumerate(ledger[:MOST_ROWS]):
        marks = ["root"] * (rank == root) + ["idle"] * (tiles == 0)
        numbers = [cell(tiles), bar(work, busiest), cell(_percent(work, whole)), *map(cell, moved)]
        lines.append([chip(rank), *numbers, word(", ".join(marks))])
    if rest := ledger[MOST_ROWS:]:
        tiles, work, *moved = map(sum, zip(*rest, strict=True))
        numbers = [cell(tiles), cell(work), cell(_percent(work, whole)), *map(cell, moved)]
        lines.append([cell(f"{len(rest)} more"), *numbers, word(_idle([tiles for tiles, *_ in rest]))])
    picture = draw_grid(axes, rows, owners=owners, summary=f"Tiles of {_extents(axes, rows)}, by rank: {facts}")
    head = ["rank", "tiles", "cells computed", "of all", "sent", "received", ""]
    return view("TilePlan", facts, table=table(head, lines), picture=picture)


def shard_view(rows: _Rows, facts: str, *, unit: str, root: int, owners: Sequence[int]) -> str:
    """One line per rank, beside the picture of the shards.

    Args:
        rows: The parts of h and of w.
        facts: Further facts, in one sentence.
        unit: The unit of the parts.
        root: The rank that ends up with the output.
        owners: The rank of each shard, one row of shards after the other.
    """
    down, across = map(len, rows)
    lines = []
    for index in sorted(range(down * across), key=owners.__getitem__)[:MOST_ROWS]:
        rank, (i, j) = owners[index], divmod(index, across)
        around = {"above": i > 0, "left": j > 0, "right": j + 1 < across, "below": i + 1 < down}
        step = {"above": -across, "left": -1, "right": 1, "below": across}
        near = ", ".join(f"{owners[index + step[side]]} {side}" for side, there in around.items() if there)
        parts = [cell(f"{span}{unit}") for span in (rows[0][i], rows[1][j])]
        lines.append([chip(rank), *parts, word(near or "none"), word("root" if rank == root else "")])
    if (rest := down * across - MOST_ROWS) > 0:
        note = f"root is {root}" if root >= MOST_ROWS else ""
        lines.append([cell(f"{rest} more"), cell(""), cell(""), word(""), word(note)])
    summary = f"Shards by rank, {down} along h and {across} along w: {facts}"
    picture = draw_grid(("h", "w"), rows, owners=owners, summary=summary, noun="shard", unit=unit)
    head = ["rank", "part of h", "part of w", "neighbours", ""]
    return view("ShardPlan", facts, table=table(head, lines, words=["neighbours"]), picture=picture)


def _idle(counts: Sequence[int]) -> str:
    idle = sum(count == 0 for count in counts)
    return f"{idle} idle" if idle else ""


def _some(indices: Sequence[int]) -> str:
    return " ".join(map(str, indices[:MOST_INDICES])) + (" ..." if len(indices) > MOST_INDICES else "")


def _range(values: Iterable[int]) -> str:
    distinct = set(values) or {0}
    return str(min(distinct)) if len(distinct) == 1 else f"{min(distinct)} to {max(distinct)}"


def _extents(axes: tuple[str, ...], rows: _Rows) -> str:
    return " x ".join(f"{axis} {row[-1].stop}" for axis, row in zip(axes, rows, strict=True))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"
