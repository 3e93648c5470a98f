"""Profiles that ranks make: on which device, and how what they cost each other is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import toolkit as tk
from toolkit.planning.rehearsing import profiling, stopwatch
from toolkit.planning.rehearsing.profile import OperatorCost, Profile
from toolkit.planning.rehearsing.script import Compute, operators_of

SHAPE = (1, 16, 4, 4)


class Ranks:
    """Ranks that answer what a test wants."""

    device = torch.device("cpu")

    def __init__(self, ranks: int, answer: Callable[..., list[Any]]) -> None:
        self.ranks, self.run = ranks, answer


def test_what_ranks_cost_each_other_is_a_median_over_rounds_of_all_numbers() -> None:
    """A second in which the machine does something else shows in one round of one number of ranks."""
    scripts = tk.rehearse(tk.demo.image_vae(), SHAPE, device="cpu").scripts
    known = Profile("cpu", dict.fromkeys(operators_of(scripts), OperatorCost(1.0, 0)))
    asked, paces = [], iter([1.0, 0.8, 0.2, 0.9, 0.8, 0.5, 1.0, 0.1, 0.5])

    def answer(_function: Any, count: int, *_: Any) -> list[float | None]:
        asked.append(count)
        return [next_pace := next(paces)] + [next_pace] * (count - 1) + [None] * (3 - count)

    found = profiling._with_crowds(Ranks(3, answer), known, scripts, 2)
    assert asked == [1, 2, 3] * 3
    assert {count: crowd.slowness for count, crowd in found.crowds.items()} == {1: 0.8, 2: 1.0, 3: 0.8 / 0.5}


def test_a_clusters_device_is_measured_whatever_else_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "device_of_rank", lambda rank: torch.device("cuda", rank))
    one = Ranks(1, lambda function, *args: [function(*args)])
    assert tk.profile(tk.demo.image_vae(), SHAPE, cluster=one).device == "cpu"


def test_a_profile_of_another_device_is_refused_before_anything_is_measured() -> None:
    def nothing(*_: Any) -> list[Any]:
        raise AssertionError("measured")

    vae, other = tk.demo.image_vae(), Profile.assume(operations=1.0, bandwidth=1.0, device="cuda")
    with pytest.raises(tk.PlanError, match=r"^known is a profile of cuda, measured is cpu: give device='cuda'\.$"):
        tk.profile(vae, SHAPE, cluster=Ranks(2, nothing), known=other)
    with pytest.raises(tk.PlanError, match=r"^a profile of cuda with a cluster of cpu: .* Leave out profile= or"):
        tk.plan(vae, SHAPE, 2, profile=other, cluster=Ranks(2, nothing), progress=False)


@pytest.mark.parametrize(("more", "each"), [([1.0, 1.0], 1.0), ([0.5, 9.0, 1.0], 1.0), ([-0.1], 0.0)])
def test_what_the_host_does_around_operators_is_what_a_small_call_takes_beyond_them(
    more: list[float], each: float
) -> None:
    """Every operator takes a second, and the call so much more for each that the host calls, views included."""
    small = tk.rehearse(tk.demo.image_vae(), stopwatch.SMALL, device="cpu").scripts[0]
    steps = [step for step in small.steps if isinstance(step, Compute)]
    taken = [len(steps) + one * sum(step.calls for step in steps) for one in more]

    def answer(_function: Any, calls: Any, around: Any, _device: str) -> list[Any]:
        return [(dict.fromkeys(calls, OperatorCost(1.0, 0)), dict.fromkeys(around, whole)) for whole in taken]

    found = profiling._lacking(answer, [small], Profile("cpu"), ["call"])
    assert (found.host.call, found.host.ruled_call) == (each, None)
    # It is not measured again.
    assert profiling._lacking(lambda *_: [({}, {})], [small], found, ["call"]) == found
