"""Choices: what is predicted, what is chosen by it, and how it is said."""

from __future__ import annotations

import pytest
import torch

import toolkit as tk
from toolkit.models.autoencoders.census import specimen
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.planning.cost import CallCost, call_cost
from toolkit.runs.memory import MemoryCurve, measured
from toolkit.runs.trace import clock

COST = CallCost(working_bytes=100_000, output_bytes=1_000, weight_bytes=1_000_000, seconds=0.01)


def choose(name: str, ranks: int, h: int = 40, w: int = 60, **options) -> tk.Choice:
    model = specimen(name)
    return tk.plan(model.build(), model.latent(h, w), ranks, arguments=model.call, **{"cost": COST, **options})


def test_shards_before_tiles():
    choice = choose("AutoencoderKLWan_2.1", 4)
    assert isinstance(choice.plan, tk.ShardPlan)
    assert choice.plan.ranks == 4
    times = [prediction.time for prediction in choice.predictions]
    assert times == sorted(times)
    assert choice.predictions[0].time == pytest.approx(1 / 4)
    assert "24 s (2400 latent cells of 10 ms)" in choice.reason
    assert "exact to rounding" in choice.reason
    assert "Not modelled: messages" in choice.reason
    assert choice.reason in repr(choice)
    assert "the model&#x27;s own call" in choice._repr_html_()


def test_where_shards_are_not_known_tiles_are_taken_unless_it_must_be_exact():
    choice = choose("AutoencoderKLMiniMaxH3", 2)
    assert isinstance(choice.plan, tk.TilePlan)
    assert "approximate" in choice.reason
    assert "vision transformer" in choice.reason
    choice = choose("AutoencoderKLMiniMaxH3", 2, exact=True)
    assert choice.plan is None
    assert "no plan for 2 ranks is quicker" in choice.reason


def test_exact_tiles_are_offered_where_nothing_is_global():
    names = {p.name: p for p in choose("AutoencoderTiny", 2, w=200).predictions if p.exact}
    exact = next(p for p in names.values() if isinstance(p.plan, tk.TilePlan))
    assert exact.plan.blend == tk.Blend.crop()
    assert exact.time == pytest.approx((100 + 19) / 200)
    assert not [p for p in choose("AutoencoderKL", 2).predictions if p.exact and isinstance(p.plan, tk.TilePlan)]


def test_little_work_is_not_divided():
    choice = choose("AutoencoderKL", 4, h=9, w=9)
    assert choice.plan is None
    assert "Do not parallelise" in choice.reason
    assert choose("AutoencoderKL", 4, h=9, w=9, memory=7_000_000).plan is not None


def test_memory_decides_and_is_said():
    whole, divided = choose("AutoencoderKL", 1), choose("AutoencoderKL", 2, memory=180_000_000)
    assert whole.plan is None
    assert next(p.peak for p in whole.predictions if p.plan is None) == 2400 * 100_000 + 1_000_000
    assert divided.plan is not None
    assert "norm_passes=" in choose("AutoencoderKL", 1, memory=20_000_000).reason
    assert "does not have the memory for it" in divided.reason
    assert all(p.peak <= 180_000_000 for p in divided.predictions if p.plan == divided.plan)
    with pytest.raises(tk.PlanError, match=r"memory=2\.0 MB per rank: the least that any plan needs .* MB .*weights"):
        choose("AutoencoderKL", 2, memory=2_000_000)
    with pytest.raises(tk.PlanError, match="any exact plan"):
        choose("AutoencoderKL", 2, memory=2_000_000, exact=True)
    with pytest.raises(tk.PlanError, match="ranks=0"):
        choose("AutoencoderKL", 0)


def test_encode_is_chosen_for_by_its_sample():
    model = specimen("AutoencoderKL")
    choice = tk.plan(model.build(), model.sample(40, 60), 2, direction="encode", cost=COST)
    assert next(p.peak for p in choice.predictions if p.plan is None) == 2400 * 100_000 + 1_000_000


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
