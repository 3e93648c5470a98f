"""Hypothesis strategies: rows of spans and grids, sizes small enough to check cell by cell."""

from __future__ import annotations

from hypothesis import strategies as st

from toolkit.geometry import Span, TileGrid


@st.composite
def rows(draw: st.DrawFn, pairwise: bool = False, most: int = 5, size: int = 7) -> tuple[Span, ...]:
    """Spans that cover an axis in order; with ``pairwise``, at most two of them meet anywhere."""
    spans = [Span(0, draw(st.integers(1, size)))]
    for _ in range(draw(st.integers(0, most - 1))):
        last = spans[-1]
        earliest = max(last.start + 1, spans[-2].stop if pairwise and len(spans) > 1 else 0)
        start = draw(st.integers(earliest, last.stop))
        stop = draw(st.integers(max(last.stop, start + 1), start + size))
        spans.append(Span(start, max(stop, last.stop)))
    return tuple(spans)


@st.composite
def grids(draw: st.DrawFn, pairwise: bool = False, most: int = 4) -> TileGrid:
    """Grids of one to three axes."""
    axes = draw(st.sampled_from([("w",), ("h", "w"), ("t", "h", "w")]))
    return TileGrid(axes, tuple(draw(rows(pairwise, most, size=5)) for _ in axes))
