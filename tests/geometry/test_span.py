"""Spans, and the two ways to lay them along an axis: every small case, against brute force."""

import pickle
from functools import lru_cache
from itertools import pairwise

import pytest
from geometry.grids import rows
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import PlanError
from toolkit.geometry.span import Span, cores, cover_axis, shares, strided_axis

EXTENTS = range(1, 61)
TILES = (*range(1, 18), 24, 31, 32, 33, 59, 60, 61)


def by_width(tile: int) -> list[int]:
    """All overlaps of small tiles, the telling ones of large tiles."""
    return sorted({*range(min(tile, 12)), tile // 4, tile // 2, tile // 2 + 1, tile - 1} - {tile})


@lru_cache(None)
def fewest_by_search(extent: int, tile: int, overlap: int) -> int:
    """The fewest tiles that cover, found by trying every way to place them."""
    ends, count = set(range(1, tile + 1)), 1
    while not any(end >= extent for end in ends):
        ends = {
            start + size
            for end in ends
            for start in range(max(end - tile, 0), end - overlap + 1)
            for size in range(1, tile + 1)
        }
        count += 1
    return count


@pytest.mark.parametrize("tile", TILES)
def test_cover_keeps_every_promise(tile):
    for overlap in by_width(tile):
        for extent in EXTENTS:
            spans = cover_axis(extent, tile, overlap)
            assert spans[0].start == 0
            assert spans[-1].stop == extent
            assert {len(span) for span in spans} == {len(spans[0])}
            assert len(spans[0]) <= tile
            steps = {b.start - a.start for a, b in pairwise(spans)}
            assert not steps or (min(steps) >= 1 and max(steps) - min(steps) <= 1)
            assert all(len(a & b) >= overlap for a, b in pairwise(spans))
            assert not any(a in b or b in a for a, b in pairwise(spans))
            # n tiles reach no further than this; one tile fewer would not reach the end.
            assert (len(spans) - 1) * (tile - overlap) + overlap < extent or len(spans) == 1


def test_cover_is_the_fewest_by_brute_force():
    for extent in range(1, 25):
        for tile in range(1, 10):
            for overlap in range(tile):
                assert len(cover_axis(extent, tile, overlap)) == fewest_by_search(extent, tile, overlap)


def test_cover_makes_tiles_as_small_as_their_count_allows():
    for extent in EXTENTS:
        for tile in range(1, 20):
            for overlap in range(tile):
                spans = cover_axis(extent, tile, overlap)
                smaller = len(spans[0]) - 1
                assert len(spans) * smaller - (len(spans) - 1) * overlap < extent


@pytest.mark.parametrize(
    ("extent", "tile", "overlap", "spans"),
    [
        (60, 32, 8, (Span(0, 26), Span(17, 43), Span(34, 60))),
        (104, 32, 8, (Span(0, 32), Span(24, 56), Span(48, 80), Span(72, 104))),
        (9, 3, 0, (Span(0, 3), Span(3, 6), Span(6, 9))),
        (4, 3, 2, (Span(0, 3), Span(1, 4))),
        (3, 3, 2, (Span(0, 3),)),
        (1, 1, 0, (Span(0, 1),)),
        (7, 100, 99, (Span(0, 7),)),
    ],
)
def test_cover_places_exactly(extent, tile, overlap, spans):
    assert cover_axis(extent, tile, overlap) == spans


def test_strided_is_python_s_range():
    for extent in EXTENTS:
        for tile in (1, 2, 5, 8, 32):
            for stride in range(1, tile + 1):
                spans = strided_axis(extent, tile, stride)
                assert [span.start for span in spans] == list(range(0, extent, stride))
                assert [span.stop for span in spans] == [min(s + tile, extent) for s in range(0, extent, stride)]


def test_strided_keeps_slivers_that_cover_avoids():
    assert strided_axis(50, 32, 24) == (Span(0, 32), Span(24, 50), Span(48, 50))
    assert len(cover_axis(50, 32, 8)) == 2


@given(rows())
def test_cores_and_shares_cut_the_axis_into_own_parts(row):
    for cut in (cores, shares):
        parts = cut(row)
        assert len(parts) == len(row)
        assert [cell for part in parts for cell in range(part.start, part.stop)] == list(range(row[-1].stop))
        assert all(part in span for part, span in zip(parts, row, strict=True))
    assert [share.start for share in shares(row)] == [span.start for span in row]


@given(rows())
def test_cores_cut_each_overlap_in_its_middle(row):
    for (a, b), (core, after) in zip(pairwise(row), pairwise(cores(row)), strict=True):
        both = a & b
        assert core.stop == after.start
        assert 0 <= (both.stop - core.stop) - (core.stop - both.start) <= 1


@pytest.mark.parametrize(
    ("wrong", "said", "right"),
    [
        ((0, 8, 2), "extent=0: must be an int of at least 1", (1, 8, 2)),
        ((-3, 8, 2), "extent=-3: must be an int of at least 1", (3, 8, 2)),
        ((60.0, 8, 2), "extent=60.0: must be an int of at least 1", (60, 8, 2)),
        ((True, 8, 2), "extent=True: must be an int of at least 1", (1, 8, 2)),
        ((60, 0, 0), "tile=0: must be an int of at least 1", (60, 1, 0)),
        ((60, 7.5, 2), "tile=7.5: must be an int of at least 1", (60, 7, 2)),
        ((60, 8, -1), "overlap=-1: must be an int of at least 0", (60, 8, 0)),
        ((60, 8, 2.0), "overlap=2.0: must be an int of at least 0", (60, 8, 2)),
        ((60, 8, 8), "overlap=8 with tile=8: overlap must satisfy 0 <= overlap < tile", (60, 8, 7)),
    ],
)
def test_cover_says_what_is_wrong(wrong, said, right):
    with pytest.raises(PlanError) as error:
        cover_axis(*wrong)
    assert said in str(error.value)
    assert cover_axis(*right)


@pytest.mark.parametrize(
    ("wrong", "said", "right"),
    [
        ((60, 8, 9), "stride=9 with tile=8: stride must satisfy 1 <= stride <= tile", (60, 8, 8)),
        ((60, 8, 0), "stride=0: must be an int of at least 1", (60, 8, 1)),
        ((60, 8, 6.5), "stride=6.5: must be an int of at least 1", (60, 8, 6)),
        ((60, 8, True), "stride=True: must be an int of at least 1", (60, 8, 1)),
    ],
)
def test_strided_says_what_is_wrong(wrong, said, right):
    with pytest.raises(PlanError) as error:
        strided_axis(*wrong)
    assert said in str(error.value)
    assert strided_axis(*right)


def test_a_span_is_a_value():
    span = Span(8, 24)
    assert span == Span(8, 24)
    assert span != Span(8, 25)
    assert {span: 1}[Span(8, 24)] == 1
    assert pickle.loads(pickle.dumps(span)) == span
    assert sorted([Span(8, 24), Span(0, 9)])[0] == Span(0, 9)
    with pytest.raises(AttributeError):
        span.start = 3  # type: ignore[misc]


@pytest.mark.parametrize("wrong", [(3, 2), (-1, 2)])
def test_a_span_does_not_run_backwards(wrong):
    with pytest.raises(PlanError, match=r"must satisfy 0 <= start <= stop"):
        Span(*wrong)
    assert len(Span(2, 2)) == 0


@given(*[st.integers(0, 12) for _ in range(4)])
def test_what_spans_share_is_what_sets_share(a, size_a, b, size_b):
    one, other = Span(a, a + size_a), Span(b, b + size_b)
    both = set(range(one.start, one.stop)) & set(range(other.start, other.stop))
    assert set(range((one & other).start, (one & other).stop)) == both
    assert (other in one) == (one.start <= other.start and other.stop <= one.stop)
    assert all((cell in one) == (one.start <= cell < one.stop) for cell in range(14))
    assert "h" not in one


@given(rows(), st.integers(1, 8))
def test_finer_units_and_slices_agree(row, ratio):
    cells = list(range(row[-1].stop * ratio))
    for span, core in zip(row, cores(row), strict=True):
        tile = cells[(span * ratio).start : (span * ratio).stop]
        assert tile[(core * ratio).inside(span * ratio)] == cells[(core * ratio).start : (core * ratio).stop]


@pytest.mark.parametrize("ends", [(0.5, 2), (0, 2.0), (False, True), ("0", 2), (None, 2)])
def test_the_ends_of_a_span_are_ints(ends):
    with pytest.raises(PlanError, match="in ints"):
        Span(*ends)
