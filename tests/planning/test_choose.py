"""Choices: what is rehearsed, what is chosen by it, and how it is said."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

import toolkit as tk
from toolkit.errors import PlanError
from toolkit.models.autoencoders.census import specimen
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.options import Options
from toolkit.planning.candidates import Task
from toolkit.planning.choice import Choice, Limits, Prediction
from toolkit.planning.choose import _estimated
from toolkit.planning.cost import call_cost
from toolkit.runs.memory import MemoryCurve, measured
from toolkit.runs.trace import clock

SLOW = tk.Profile.assume(operations=1e8, bandwidth=1e8)


@cache
def choose(name: str, ranks: int, h: int = 24, w: int = 30) -> tk.Choice:
    model = specimen(name)
    return tk.plan(model.build(), model.latent(h, w), ranks, arguments=model.call, profile=SLOW)


def test_every_candidate_is_rehearsed_and_the_quickest_is_chosen():
    choice = choose("AutoencoderKL", 2).under(exact=True)
    assert isinstance(choice.plan, tk.ShardPlan)
    seconds = [prediction.seconds for prediction in choice.predictions]
    assert seconds == sorted(seconds)
    best = next(p for p in choice.predictions if p.exact)
    model = specimen("AutoencoderKL")
    vae = model.build()
    rehearsal = tk.rehearse(vae, model.latent(24, 30), choice.plan, profile=SLOW)
    weights = sum(parameter.nbytes for parameter in vae.parameters())
    assert (best.seconds, best.peak) == (rehearsal.seconds, rehearsal.peaks.max() + weights)
    assert best.bytes == rehearsal.messages["bytes"].sum() > 0
    assert "exact to rounding" in choice.reason
    assert choice.reason in repr(choice)
    assert "<td>the model's own call</td>" in choice._repr_html_()
    table = choice.table()
    assert table["verdict"].tolist().count("chosen") == 1
    assert table.loc[table["plan"] == "the model's own call", "verdict"].item().endswith("x the time")


def test_where_shards_are_not_known_tiles_are_taken_unless_it_must_be_exact():
    choice = choose("AutoencoderKLMiniMaxH3", 2)
    assert isinstance(choice.plan, tk.TilePlan)
    assert "approximate" in choice.reason
    assert "vision transformer" in choice.reason
    exact = choice.under(exact=True)
    assert exact.plan is None
    assert "Do not parallelise" in exact.reason
    assert set(exact.table()["verdict"]) == {"chosen", "approximate"}


def test_exact_tiles_are_offered_where_nothing_is_global():
    tiles = [p for p in choose("AutoencoderTiny", 2, w=200).predictions if p.exact and isinstance(p.plan, tk.TilePlan)]
    assert tiles
    assert {one.plan.blend for one in tiles} == {tk.Blend.crop()}
    assert not [p for p in choose("AutoencoderKL", 2).predictions if p.exact and isinstance(p.plan, tk.TilePlan)]


def test_few_ranks_may_be_left_idle():
    assert {p.plan.ranks for p in choose("AutoencoderTiny", 3, h=12, w=14).predictions if p.plan is not None} == {2, 3}


def test_memory_decides_and_is_said():
    alone = choose("AutoencoderKL", 1)
    assert alone.plan is None
    choice = choose("AutoencoderKL", 2)
    whole = next(p for p in choice.predictions if p.plan is None)
    divided = choice.under(memory=whole.peak - 1)
    assert divided.plan is not None
    assert "which is more than it may" in divided.reason
    assert "needs more than" in divided.table().set_index("plan").loc["the model's own call", "verdict"]
    with pytest.raises(tk.PlanError, match=r"memory=0\.1 MB per rank: the least that any plan needs .* MB .*weights"):
        choice.under(memory=100_000)
    with pytest.raises(tk.PlanError, match="any exact plan"):
        choice.under(memory=100_000, exact=True)
    with pytest.raises(tk.PlanError, match="ranks=0"):
        choose("AutoencoderKL", 0)


def test_the_error_of_tiles_is_measured_on_the_input():
    model = specimen("AutoencoderKL")
    choice = tk.plan(model.build(), model.latent(20, 24), 2, error=1.0, profile=SLOW)
    errors = {p.name: p.error for p in choice.predictions}
    assert all(error is not None for error in errors.values())
    assert min(error for p, error in zip(choice.predictions, errors.values(), strict=True) if not p.exact) > 0.001
    strict = choice.under(error=1e-6)
    assert next(p for p in strict.predictions if p.plan == strict.plan and not p.refused).exact
    assert "differs by more than 1e-06" in set(strict.table()["verdict"])
    with pytest.raises(tk.PlanError, match="Give the input itself"):
        tk.plan(model.build(), (1, 4, 24, 24), 2, error=1.0, profile=SLOW)
    with pytest.raises(tk.PlanError, match="was not measured"):
        choose("AutoencoderKL", 2).under(error=0.1)


def _predicted(seconds: float, *, exact: bool = True, ranks: int = 2) -> Prediction:
    plan = tk.ShardPlan(h=ranks) if exact else TILES
    return Prediction(f"plan of {seconds} s", plan, exact, seconds)


GRID = tk.TileGrid.cover({"h": 8, "w": 8}, 6, 2)
TILES = tk.TilePlan(GRID, tk.Blend.linear(), tk.Assignment.balanced(GRID, 2))
WHOLE = Prediction("the model's own call", None, exact=True, seconds=1.0)


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([_predicted(0.98)], None),
        ([_predicted(0.96)], tk.ShardPlan(h=2)),
        ([_predicted(0.51), _predicted(0.50, exact=False)], tk.ShardPlan(h=2)),
        ([_predicted(0.52), _predicted(0.50, exact=False)], TILES),
    ],
    ids=["gains too little", "gains enough", "exact is hardly slower", "exact is slower"],
)
def test_the_simpler_plan_wins_where_others_gain_too_little(others, chosen):
    assert Choice.of([WHOLE, *others], Limits(), ranks=2, weights=0).plan == chosen


def test_limits_are_checked():
    for wrong in ({"memory": "16 GB"}, {"memory": True}, {"error": "small"}):
        with pytest.raises(tk.PlanError, match="must be a"):
            Limits(**wrong)


def test_encode_is_chosen_for_by_its_sample():
    model = specimen("AutoencoderKL")
    choice = tk.plan(model.build(), model.sample(24, 30), 2, direction="encode", profile=SLOW)
    rehearsal = tk.rehearse(model.build(), model.sample(24, 30), direction="encode", profile=SLOW, seed=0)
    assert next(p.seconds for p in choice.predictions if p.plan is None) == rehearsal.seconds


def test_without_a_profile_small_inputs_are_measured_and_it_is_said():
    choice = tk.plan(tk.demo.image_vae(), (1, 16, 30, 40), 1)
    assert "estimated from the operators of small inputs" in choice.reason
    assert 0.01 < choice.predictions[0].seconds < 10


class OneRank:
    """A cluster of one rank: this process."""

    device, ranks = torch.device("cpu"), 1

    def __init__(self):
        self.measured = []

    def run(self, function, *args):
        self.measured.append(function)
        return [function(*args)]


def test_a_cluster_measures_what_may_be_the_quickest_and_the_profile_is_kept():
    here, vae, shape = OneRank(), specimen("AutoencoderTiny").build(), (1, 4, 16, 20)
    choice = tk.plan(vae, shape, 2, cluster=here, progress=False)
    may_be = [one for one in choice.predictions if one.seconds <= 1.15 * choice.predictions[0].seconds]
    assert may_be
    assert all(one.estimated == 0 for one in may_be)
    assert "small inputs" not in choice.reason
    # What is known is not measured again.
    here.measured.clear()
    again = tk.plan(vae, shape, 2, profile=choice.profile, cluster=here, progress=False)
    assert (again.plan, here.measured) == (choice.plan, [])
    rehearsal = tk.rehearse(vae, shape, again.plan, profile=choice.profile)
    assert rehearsal.seconds == next(one.seconds for one in again.predictions if one.plan == again.plan)


def test_plans_whose_memory_is_an_estimate_near_the_limit_are_measured():
    def predicted(estimated, peak):
        return Prediction("a", tk.ShardPlan(h=2), exact=True, seconds=1.0, peak=peak, estimated=estimated)

    below, near, above = predicted(0.5, 99), predicted(0.5, 114), predicted(0.5, 116)
    known, too_large, slow = predicted(0.0, 99), predicted(0.0, 101), replace(below, seconds=1.2)
    assert _estimated([below, near, above, known, too_large, slow], Limits(memory=100)) == [below, near]
    assert _estimated([replace(too_large, seconds=0.1), below], Limits(memory=100)) == [below]


def test_measured_cost_predicts_the_peak_of_a_larger_call():
    vae, latent = tk.demo.image_vae(), torch.zeros(1, 16, 30, 40)
    cost, curve = call_cost(vae, latent.shape, ModelCall()), MemoryCurve(0)
    with torch.no_grad(), measured(curve, latent.device, origin=clock()):
        sample = vae.decode(latent).sample
    assert cost.output_bytes * 1200 == sample.nbytes
    assert cost.working_bytes * 1200 == pytest.approx(curve.peak, rel=0.1)
    assert cost.seconds > 0


def test_a_busy_machine_makes_no_cell_free(monkeypatch):
    """Where the smaller input took longer than the larger one, the larger one's time counts."""
    taken = iter([(1000, 100, 0.5), (2000, 144, 0.4)])
    monkeypatch.setattr("toolkit.planning.cost._measure", lambda *_, **__: next(taken))
    assert call_cost(specimen("AutoencoderTiny").build(), (1, 4, 64, 64), ModelCall()).seconds == 0.4 / 144


def test_with_hosts_shards_are_tried_in_blocks_and_tiles_dealt_out_by_hosts():
    vae, two = specimen("AutoencoderKL").build(), tk.Topology(hosts=2, per_host=2)
    call = ModelCall("decode", Options(seed=0))
    plain, hosted = ([*Task(vae, (1, 4, 24, 60), call, 4, among).candidates()] for among in (None, two))
    blocks = {"2 x 2 shards in blocks of 2 x 1"}
    assert {one.name for one in hosted} == {one.name for one in plain} | blocks
    tiles = [one.plan for one in hosted if isinstance(one.plan, tk.TilePlan)]
    assert tiles
    for one in tiles:
        assert one.assignment == tk.Assignment.balanced(one.grid, one.ranks, topology=two)


def test_where_the_link_between_hosts_is_slow_short_borders_win(monkeypatch):
    monkeypatch.setattr(Task, "_counts", lambda _: [4])
    monkeypatch.setattr(Task, "_tiles", lambda *_: ())
    vae, two = specimen("AutoencoderKL").build(), tk.Topology(2, 2, tk.Link(1e12), tk.Link(1e4))
    choice = tk.plan(vae, (1, 4, 8, 24), 4, profile=SLOW, topology=two, exact=True, progress=False)
    shards = [one.plan for one in choice.predictions if isinstance(one.plan, tk.ShardPlan) and one.plan.ranks == 4]
    assert shards[0] == tk.ShardPlan.over(two, {"h": 8, "w": 24})


def test_a_topology_with_too_few_ranks_is_refused():
    with pytest.raises(PlanError, match="the topology has 3"):
        tk.plan(specimen("AutoencoderKL").build(), (1, 4, 24, 60), 4, profile=SLOW, topology=tk.Topology(1, 3))
