"""Stage splits: every layer once, no stage empty, and balanced ones as fast as any."""

import pickle
import re
import time
from dataclasses import FrozenInstanceError
from fractions import Fraction
from itertools import accumulate, combinations, product
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import PlanError
from toolkit.geometry.span import Span
from toolkit.geometry.stage_split import StageSplit


def splits(layers: int, stages: int) -> list[StageSplit]:
    """All splits there are, those with longer first stages first."""
    cuts = combinations(range(1, layers), stages - 1)
    return sorted((StageSplit((0, *cut, layers)) for cut in cuts), key=lambda split: split.bounds, reverse=True)


def test_even_splits_own_every_layer_once():
    for layers, stages in product(range(1, 41), range(1, 13)):
        if layers < stages:
            continue
        split = StageSplit.even(layers, stages)
        assert len(split) == stages
        assert [layer for stage in split.stages for layer in range(stage.start, stage.stop)] == list(range(layers))
        assert max(split.counts) - min(split.counts) <= 1
        assert sorted(split.counts, reverse=True) == list(split.counts)
        assert sum(split.shares) == 1
        for layer in range(layers):
            assert layer in split.stages[split.owner(layer)]


def test_the_published_splits_of_a_5b():
    assert StageSplit.even(30, 4).counts == (8, 8, 7, 7)
    assert StageSplit.even(30, 4).imbalance == pytest.approx(8 / 7.5)
    assert StageSplit.even(30, 4) == StageSplit.balanced([0.1] * 30, 4)


@given(st.data(), st.integers(1, 8), st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_balanced_is_the_best_of_all_splits(data, layers, stages):
    if layers < stages:
        stages = layers
    numbers = st.integers(0, 9)
    costs, memory = (data.draw(st.lists(numbers, min_size=layers, max_size=layers)) for _ in range(2))
    speeds = data.draw(st.lists(st.integers(1, 3), min_size=stages, max_size=stages))
    cap = data.draw(st.lists(st.integers(0, 30), min_size=stages, max_size=stages))

    def times(split: StageSplit) -> list[Fraction]:
        return [Fraction(cost) / speed for cost, speed in zip(split.costs(costs), speeds, strict=True)]

    fitting = [s for s in splits(layers, stages) if all(a <= b for a, b in zip(s.costs(memory), cap, strict=True))]
    if not fitting:
        with pytest.raises(PlanError, match="cap="):
            StageSplit.balanced(costs, stages, memory=memory, cap=cap, speeds=speeds)
        return
    best = min(fitting, key=lambda split: (max(times(split)), sum(time * time for time in times(split))))
    assert StageSplit.balanced(costs, stages, memory=memory, cap=cap, speeds=speeds) == best


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=12), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_without_caps_and_speeds_balanced_is_never_slower_than_even(costs, stages):
    stages = min(stages, len(costs))
    found, even = StageSplit.balanced(costs, stages), StageSplit.even(len(costs), stages)
    assert max(found.costs(costs)) <= max(even.costs(costs)) * (1 + 1e-12)
    assert max(found.costs(costs)) >= max(*costs, sum(costs) / stages) * (1 - 1e-12)


def test_equal_layers_are_split_evenly():
    for layers, stages in product(range(1, 20), range(1, 7)):
        if layers >= stages:
            assert StageSplit.balanced([0.3] * layers, stages) == StageSplit.even(layers, stages)


def test_a_fast_device_gets_more():
    assert StageSplit.balanced([1] * 40, 3, speeds=[1, 2, 1]).counts == (10, 20, 10)
    assert StageSplit.balanced([1] * 3, 3, speeds=[1, 100, 1]).counts == (1, 1, 1)


def test_a_cap_moves_layers_and_its_bound_is_allowed():
    weights = [340] * 19 + [142] * 38
    assert StageSplit.balanced([1] * 57, 3).counts == (19, 19, 19)
    tight = StageSplit.balanced([1] * 57, 3, memory=weights, cap=340 * 13)
    assert max(tight.costs(weights)) <= 340 * 13
    assert tight.counts[0] == 13
    each = StageSplit.balanced([1] * 57, 3, memory=weights, cap=[1000, 10_000, 10_000])
    assert each.counts == (2, 28, 27)


@pytest.mark.parametrize(
    ("layers", "stages", "memory", "cap", "said"),
    [
        (
            30,
            4,
            [1] * 30,
            7,
            "cap=7: 30 layers, 30 in all, do not fit into 4 stages. The best split needs 8; raise cap to 8, or",
        ),
        (30, 4, [1] * 30, 7, "use 5 stages"),
        (3, 2, [1, 9, 1], 7, "needs 10; raise cap to 10 (one layer alone needs 9)"),
        (2, 2, [3, 1], [2, 5], "cap=2 + 5: no split of 2 layers, 4 in all, stays within these caps; raise them"),
    ],
)
def test_a_cap_that_cannot_be_met_is_refused_with_the_numbers(layers, stages, memory, cap, said):
    with pytest.raises(PlanError) as error:
        StageSplit.balanced([1] * layers, stages, memory=memory, cap=cap)
    assert said in str(error.value)


def test_a_remedy_is_no_rounded_figure():
    for size in (12_345_612, 0.1, 1 / 3):
        memory = [size] * 3
        with pytest.raises(PlanError) as error:
            StageSplit.balanced([1] * 3, 1, memory=memory, cap=2 * size)
        raised = float(re.search(r"raise cap to ([\d.e+-]+),", str(error.value))[1])
        assert StageSplit.balanced([1] * 3, 1, memory=memory, cap=raised)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=8), st.integers(1, 4), st.integers(9, 20))
@settings(max_examples=40, deadline=None)
def test_the_remedies_of_a_cap_work(memory, stages, cap):
    stages = min(stages, len(memory))
    try:
        StageSplit.balanced([1] * len(memory), stages, memory=memory, cap=cap)
    except PlanError as error:
        words = str(error).replace(",", "").replace(".", "").split()
        raised, enough = int(words[words.index("to") + 1]), int(words[words.index("use") + 1])
        assert StageSplit.balanced([1] * len(memory), stages, memory=memory, cap=raised)
        with pytest.raises(PlanError):
            StageSplit.balanced([1] * len(memory), stages, memory=memory, cap=raised - 1)
        assert StageSplit.balanced([1] * len(memory), enough, memory=memory, cap=cap)


def test_at_cuts_where_it_is_told():
    assert StageSplit.at([10, 20], 24).stages == (Span(0, 10), Span(10, 20), Span(20, 24))
    assert StageSplit.at([0, 10, 20, 24], 24) == StageSplit.at((10, 20), 24)
    assert StageSplit.at([], 5) == StageSplit.even(5, 1)
    for cut in splits(7, 3):
        assert StageSplit.at(cut.bounds[1:-1], 7) == cut


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: StageSplit.even(3, 4),
            "3 layers in 4 stages: every stage needs at least 1 layer. Use at most 3 stages",
        ),
        (lambda: StageSplit.balanced([1] * 3, 4), "Use at most 3 stages"),
        (lambda: StageSplit.even(3, 0), "stages=0: must be an int of at least 1"),
        (lambda: StageSplit.even(True, 1), "layers=True: must be an int"),
        (lambda: StageSplit.at([5, 5], 9), "stage 1 would hold layers 5:5"),
        (lambda: StageSplit.at([0, 5], 9), "stage 0 would hold layers 0:0"),
        (lambda: StageSplit.at([5, 9], 9), "stage 2 would hold layers 9:9"),
        (lambda: StageSplit.at([5, 3], 9), "stage 1 would hold layers 5:3"),
        (lambda: StageSplit.at([2.5], 9), "must be a tuple of ints"),
        (lambda: StageSplit((1, 4)), "must begin with 0"),
        (lambda: StageSplit((0,)), "must begin with 0"),
        (lambda: StageSplit.even(4, 2).owner(4), "layer=4: must be one of the split's 4 layers, 0..3"),
        (lambda: StageSplit.even(4, 2).owner(-1), "layer=-1"),
        (lambda: StageSplit.even(4, 2).costs([1]), "costs has 1 values: give 4, one for each layer"),
        (lambda: StageSplit.balanced([1, float("nan")], 1), "costs[1]=nan: must be a finite number of at least 0"),
        (lambda: StageSplit.balanced([1, -2], 1), "costs[1]=-2"),
        (lambda: StageSplit.balanced([1, 1], 2, speeds=[1, 0]), "speeds[1]=0: must be a finite number above 0"),
        (lambda: StageSplit.balanced([1, 1], 2, speeds=[1]), "speeds has 1 values: give 2, one for each stage"),
        (lambda: StageSplit.balanced([1, 1], 2, cap=3), "cap without memory"),
        (lambda: StageSplit.balanced([1, 1], 2, memory=[1, 1]), "memory without cap"),
        (lambda: StageSplit.balanced([1, 1], 2, memory=[1, 1], cap=[3]), "cap has 1 values: give 2"),
    ],
)
def test_what_breaks_a_rule_is_refused(make, said):
    with pytest.raises(PlanError) as error:
        make()
    assert said in str(error.value)


def test_a_split_is_a_value():
    a, b = StageSplit.even(30, 4), StageSplit(tuple(accumulate((8, 8, 7, 7), initial=0)))
    assert a == b
    assert hash(a) == hash(b)
    assert pickle.loads(pickle.dumps(a)) == a
    assert repr(a) == "StageSplit(30 layers in 4 stages: 8 8 7 7)"
    assert repr(StageSplit.even(40, 20)).endswith("2 2 2 ...)")
    with pytest.raises(FrozenInstanceError):
        a.bounds = (0, 30)  # type: ignore[misc]


@pytest.mark.parametrize("stages", [1, 4, 40])
def test_the_notebook_form(stages):
    page = StageSplit.even(80, stages)._repr_html_()
    assert len(page) < 50_000
    root = ElementTree.fromstring(page)
    rows = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    assert rows[0] == ["stage", "layers", "of all", "which"]
    assert rows[1] == ["0", str(80 // stages), f"{100 / stages:.1f} %", f"0:{80 // stages}"]
    if stages == 40:
        assert rows[-1] == ["24 more", "48", "60.0 %", "32:80"]


@pytest.mark.parametrize("costs", [[1] * 1000, [1 + (7 * layer % 13) / 10 for layer in range(1000)]], ids=str)
def test_a_thousand_layers_are_balanced_at_once(costs):
    begin = time.perf_counter()
    split = StageSplit.balanced(costs, 64)
    assert time.perf_counter() - begin < 0.5  # 0.03 s on an idle machine; minutes if every end of a stage is tried
    assert max(split.costs(costs)) <= max(StageSplit.even(1000, 64).costs(costs))


def test_one_layer_that_outweighs_all_leaves_the_others_even():
    assert StageSplit.balanced([900] + [1] * 899, 30).counts == (1, *StageSplit.even(899, 29).counts)


@given(st.data(), st.integers(1, 30), st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_no_stage_of_a_balanced_split_can_be_quicker(data, layers, stages):
    costs = data.draw(st.lists(st.floats(0, 10), min_size=layers, max_size=layers))
    stages = min(stages, layers)
    exact = [Fraction(cost) for cost in costs]
    slowest = max(StageSplit.balanced(costs, stages).costs(exact))
    # The least slowest time, by the plain recurrence over the first layers.
    before = list(accumulate(exact, initial=Fraction(0)))
    least = before
    for _ in range(stages - 1):
        least = [min((max(least[i], stop - before[i]) for i in range(1, j)), default=stop)
                 for j, stop in enumerate(before)]  # fmt: skip
    assert slowest == least[-1]


def test_costs_may_be_numpys():
    """Those of a table are; a float32 raised a TypeError from within."""
    np = pytest.importorskip("numpy")
    costs = [np.float32(0.5), np.int64(2), np.float64(1.5), 1]
    assert StageSplit.balanced(costs, 2) == StageSplit.balanced([0.5, 2, 1.5, 1], 2)
