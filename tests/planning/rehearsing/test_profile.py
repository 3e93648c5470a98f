"""Profiles: kept as files, extended, and asked for the cost of what was and was not measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import ToolkitError
from toolkit.geometry.topology import Link
from toolkit.planning.rehearsing.costs import Costs
from toolkit.planning.rehearsing.estimate import Measured, estimate
from toolkit.planning.rehearsing.operator_call import OperatorCall
from toolkit.planning.rehearsing.profile import FORMAT, Crowd, HostCost, OperatorCost, Profile
from toolkit.planning.rehearsing.script import Compute, Script
from toolkit.planning.rehearsing.work import Work

MEASURED = Profile(
    device="cpu",
    operators={
        "aten.mm.default(small)": OperatorCost(1.0, 100),
        "aten.mm.default(large)": OperatorCost(4.0, 800),
        "aten.add.Tensor(small)": OperatorCost(0.5, 64),
        "aten.add.Tensor(large)": OperatorCost(0.25, 64),
    },
    work={
        "aten.mm.default(small)": Work(1_000, 10),
        "aten.mm.default(large)": Work(8_000, 10),
        "aten.add.Tensor(small)": Work(0, 64),
        "aten.add.Tensor(large)": Work(0, 128),
    },
    host=HostCost(call=1e-5, ruled_call=2e-5, post=3e-5),
    link=Link(bandwidth=1e9, latency=1e-6),
    crowds={1: Crowd(0.5), 2: Crowd(0.75, 1e-5), 4: Crowd(1.5, 3e-5)},
    record={"threads": 1},
)


def call(name: str, operations: int, size: int) -> OperatorCall:
    return OperatorCall(name, (), {}, Work(operations, size))


def cost(profile: Profile, name: str, operations: int, size: int, made: int = 0) -> OperatorCost:
    return profile.cost(f"{name}(new)", call(name, operations, size), made)


@pytest.mark.parametrize(
    "profile",
    [
        MEASURED,
        Profile("cuda"),
        Profile("cpu", link=Link(bandwidth=float("inf"))),
        Profile.assume(operations=1e12, bandwidth=1e11, device="cuda", host=HostCost(1e-6, 2e-6, 3e-6)),
    ],
    ids=["measured", "empty", "with an endless link", "assumed"],
)
def test_a_saved_profile_is_loaded_as_it_was(profile: Profile, tmp_path: Path) -> None:
    path = profile.save(tmp_path / "profile.json")
    assert path == tmp_path / "profile.json"
    loaded = Profile.load(path)
    assert loaded == profile
    assert repr(loaded) == repr(profile)


@pytest.mark.parametrize(
    "text",
    ["not json", "[]", "3", "{}", json.dumps({"format": FORMAT}), json.dumps({"format": FORMAT, "operators": []})],
)
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ToolkitError) as refusal:
        Profile.load(path)
    assert str(refusal.value).startswith(f"{path}: not a profile (")
    assert str(refusal.value).endswith("): give a file that Profile.save has written.")


def test_other_versions_of_the_format_are_refused(tmp_path: Path) -> None:
    path = MEASURED.save(tmp_path / "profile.json")
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'))
    with pytest.raises(ToolkitError) as refusal:
        Profile.load(path)
    assert str(refusal.value) == f"{path}: a profile of format {FORMAT + 1}, this version reads {FORMAT}."


def test_an_extended_profile_keeps_its_own_costs() -> None:
    other = Profile(
        "cpu",
        operators={"aten.mm.default(small)": OperatorCost(9.0, 9), "aten.cat.default(x)": OperatorCost(2.0, 20)},
        work={"aten.mm.default(small)": Work(9, 9), "aten.cat.default(x)": Work(0, 20)},
        host=HostCost(9.0, 9.0, 9.0),
        link=Link(bandwidth=9.0),
        record={"threads": 9},
    )
    extended = MEASURED.extended(other)
    assert extended.operators == {**MEASURED.operators, "aten.cat.default(x)": OperatorCost(2.0, 20)}
    assert extended.work == {**MEASURED.work, "aten.cat.default(x)": Work(0, 20)}
    assert extended.host == MEASURED.host._replace(pipeline_call=9.0)
    assert (extended.link, extended.record) == (MEASURED.link, MEASURED.record)
    assert Profile("cpu").extended(other).link == Link(bandwidth=9.0)
    assert not MEASURED.knows("aten.cat.default(x)")


@pytest.mark.parametrize(
    ("ranks", "seconds", "post"), [(1, 0.5, 0.0), (2, 0.75, 1e-5), (3, 1.5, 3e-5), (64, 1.5, 3e-5)]
)
def test_ranks_that_compute_cost_each_other_what_so_many_do(ranks: int, seconds: float, post: float) -> None:
    step = Compute("aten.mm.default(small)", live=0, made=0, calls=1000)
    operators = {step.key: call("aten.mm.default", 1_000, 10)}
    busy = [Script(rank, steps=[step], operators=operators) for rank in range(ranks)]
    costs = Costs([*busy, Script(ranks)], MEASURED)  # and one that only waits
    assert costs.seconds(step) == pytest.approx(1.0 + 1000 * 1e-5)
    assert costs.busy == ranks
    assert costs.slowness(ranks) == seconds
    # What a message costs was measured on ranks that were as slow.
    assert costs.post * costs.slowness(ranks) == pytest.approx(post)


def test_a_profile_is_not_extended_by_one_of_another_device() -> None:
    with pytest.raises(ToolkitError, match=r"^a profile of cpu cannot be extended by one of cuda: keep them apart\.$"):
        MEASURED.extended(Profile("cuda"))


def test_a_measured_operator_costs_what_was_measured() -> None:
    key = "aten.mm.default(large)"
    assert MEASURED.knows(key)
    assert MEASURED.cost(key, call("aten.mm.default", 1, 1), made=10**9) == (4.0, 800)


@pytest.mark.parametrize(
    ("operations", "made", "seconds", "size"),
    [(2_000, 0, 10 / 7, 200), (500, 0, 5.5 / 7, 50), (4_000, 0, 16 / 7, 400), (16_000, 5_000, 52 / 7, 5_000)],
)
def test_another_shape_costs_what_lies_on_the_line_through_two_measured_ones(
    operations: int, made: int, seconds: float, size: int
) -> None:
    """Of 1,000 operations in 1 s and 8,000 in 4 s, each further 1,000 take 3/7 s. Memory is that of the nearest."""
    assert cost(MEASURED, "aten.mm.default", operations, 10, made) == (pytest.approx(seconds), size)


def test_calls_that_share_more_arguments_tell_more() -> None:
    keys = {
        "f.g(float32[1], weights)": (2.0, 100),
        "f.g(float32[2], weights)": (3.0, 200),
        "f.g(x, others)": (9.0, 300),
    }
    known = [Measured(key, Work(0, size), seconds, size) for key, (seconds, size) in keys.items()]
    assert estimate("f.g(float32[3], weights)", Work(0, 300), known) == (4.0, 300)
    assert estimate("f.g(float32[3], others)", Work(0, 300), known) == (9.0, 300)


def test_a_shape_of_nearly_the_same_size_does_not_tell_how_time_grows() -> None:
    known = [Measured("f.g(a)", Work(0, 100), 1.0, 0), Measured("f.g(b)", Work(0, 110), 5.0, 0)]
    assert estimate("f.g(c)", Work(0, 50), known) == (0.5, 0)


def test_operators_without_arithmetic_are_scaled_by_their_bytes() -> None:
    assert cost(MEASURED, "aten.add.Tensor", 0, 32) == (0.25, 32)
    assert cost(MEASURED, "aten.add.Tensor", 0, 512) == (1.0, 256)


def test_another_operator_runs_at_the_best_rates_of_all() -> None:
    # 2,000 operations per second from mm, and 512 bytes per second from add.
    assert cost(MEASURED, "aten.bmm.default", 6_000, 512, made=7) == (3.0, 7)
    assert cost(MEASURED, "aten.bmm.default", 2_000, 1_024, made=7) == (2.0, 7)


def test_a_call_that_does_hardly_any_work_tells_nothing_of_large_ones() -> None:
    """It was once scaled up: a copy of one number in 3 us made a copy of a picture one of 150 ms."""
    tiny = Profile(
        "cpu",
        operators={"aten.copy.default(one)": OperatorCost(3e-6, 64), "aten.cat.default(x)": OperatorCost(0.1, 64)},
        work={"aten.copy.default(one)": Work(0, 8), "aten.cat.default(x)": Work(0, 10**9)},
    )
    assert cost(tiny, "aten.copy.default", 0, 10**6, made=500_000) == (pytest.approx(3e-6 + 1e-4), 500_000)
    assert cost(tiny, "aten.copy.default", 0, 10, made=4) == (pytest.approx(3e-6 * 10 / 8), 80)


def test_the_name_of_an_operator_is_compared_as_a_whole() -> None:
    """``aten.add.Tensor`` says nothing about ``aten.add.Tensor_out``, nor ``aten.add.Tensor`` about ``aten.add``."""
    for name in ("aten.add.Tensor_out", "aten.add"):
        assert cost(MEASURED, name, 0, 512, made=3) == (1.0, 3)


def test_where_nothing_multiplied_arithmetic_is_guessed() -> None:
    only_add = Profile("cpu", {"aten.add.Tensor(x)": OperatorCost(0.5, 8)}, {"aten.add.Tensor(x)": Work(0, 64)})
    assert cost(only_add, "aten.mm.default", 2_000_000_000, 64) == (2.0, 0)


def test_a_profile_that_knows_nothing_refuses() -> None:
    with pytest.raises(ToolkitError, match=r"^the profile knows no operator: make one with tk\.profile"):
        cost(Profile("cpu"), "aten.mm.default", 1, 1)


def test_two_assumed_figures_stand_in_for_measurements() -> None:
    assumed = Profile.assume(operations=1_000.0, bandwidth=100.0, device="cuda", host=HostCost(call=0.5))
    assert (assumed.device, assumed.assumed, assumed.host.call) == ("cuda", (1_000.0, 100.0), 0.5)
    assert cost(assumed, "aten.mm.default", 4_000, 100, made=24) == (4.0, 24)
    assert cost(assumed, "aten.mm.default", 4_000, 800, made=24) == (8.0, 24)
    known: dict[str, Any] = {"aten.mm.default(new)": OperatorCost(0.125, 1)}
    measured = assumed.extended(Profile("cuda", known, {"aten.mm.default(new)": Work(4_000, 100)}))
    assert cost(measured, "aten.mm.default", 4_000, 100) == (0.125, 1)


def test_a_profile_that_cannot_be_written_says_where(tmp_path):
    """It was an OSError, and half of a file where a disk was full."""
    with pytest.raises(ToolkitError, match="no/such"):
        MEASURED.save(tmp_path / "no/such/profile.json")
    path = MEASURED.save(tmp_path / "profile.json")
    assert path.stat().st_mode & 0o777 == 0o600
