"""Stages whose sequence or weights ranks share: over real processes, against the whole in the same process."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from support.pipelines import PIPELINES, load
from torch.distributed.device_mesh import init_device_mesh

import toolkit as tk
from toolkit.geometry import Schedule, StageSplit
from toolkit.geometry.stage_plan import StagePlan
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.sequence_parallel import SharedSequence, check_sequence
from toolkit.models.transformers.transformer_census import transformer
from toolkit.models.transformers.transformer_table import entry_of
from toolkit.runs.trace import Recorder

EXACT = 0.0
ROUNDED = 1e-6
"""Relative to the largest value; 2e-7 to 4e-7 were measured."""


def plan_for(name: str, **axes: int) -> StagePlan:
    layers = len(layers_of(transformer(name).build()))
    branches = 2 // axes.get("cfg", 1)
    return StagePlan(StageSplit.even(layers, 2), Schedule.interleaved(2, branches), **axes)


def inputs_of(name: str, scale: int = 1, uneven: bool = False) -> dict:
    inputs = transformer(name).inputs(scale)
    if name == "Flux2":  # as its pipeline gives them
        inputs |= {ids: inputs[ids][None] for ids in ("img_ids", "txt_ids")}
    if uneven and name == "Flux":
        inputs |= {"encoder_hidden_states": inputs["encoder_hidden_states"][:, 1:], "txt_ids": inputs["txt_ids"][1:]}
    if name == "QwenImage":
        tokens = 5 if uneven else 4
        inputs["encoder_hidden_states"] = inputs["encoder_hidden_states"][:, :tokens]
        inputs["encoder_hidden_states_mask"] = torch.arange(tokens)[None] < 3
    return inputs


def state_of(model) -> list:
    """All that sharing might leave behind."""
    modules = list(model.modules())
    own = [(id(m), sorted(vars(m)), vars(m).get("forward"), list(m._modules)) for m in modules]
    processors = [dict(vars(m.processor)) for m in modules if hasattr(m, "processor")]
    weights = [(name, id(p), p._version) for name, p in model.named_parameters()]
    return [own, processors, weights, _AttentionBackendRegistry.get_active_backend()]


def on_rank(name: str, plan: StagePlan, calls: list, on_mesh: bool = False) -> list:
    """The largest relative difference of each call from the whole's, and its output."""
    model = transformer(name).build()
    with torch.no_grad():
        wholes = [model(**inputs)[0] for inputs in calls]
    before = state_of(model)
    mesh = init_device_mesh("cpu", tuple(plan.mesh.values()), mesh_dim_names=tuple(plan.mesh)) if on_mesh else None
    twin = tk.distributed.stage(plan, model, mesh)
    outputs = [twin(**inputs)[0] + 0 for inputs in calls]
    assert state_of(model) == before
    twin.close()
    return [
        (((ours - whole).abs().max() / whole.abs().max()).item(), ours, type(ours).__name__)
        for ours, whole in zip(outputs, wholes, strict=True)
    ]


def differences(cluster, name: str, plan: StagePlan, calls: list, **more) -> list[float]:
    """Of each call; every rank, also the fifth, that the plan has no part for, has the same bits."""
    ranks = cluster.run(on_rank, name, plan, calls, **more)
    for results in zip(*ranks, strict=True):
        assert all(torch.equal(output, results[0][1]) and kind == "Tensor" for _, output, kind in results)
    return [difference for difference, _, _ in ranks[0]]


@pytest.mark.parametrize(
    ("name", "bound"),
    [("Wan", EXACT), ("Wan_2.2_5B", EXACT), ("Flux", ROUNDED), ("Flux2", ROUNDED), ("QwenImage", ROUNDED)],
)
def test_a_shared_sequence(cluster, name, bound):
    assert entry_of(type(transformer(name).build())).sequence is not None
    calls = [inputs_of(name), inputs_of(name), inputs_of(name, scale=2)]
    assert max(differences(cluster, name, plan_for(name, sp=2), calls)) <= bound


def sent(name: str, plan: StagePlan) -> int:
    """Bytes of the largest message from this rank."""
    trace = Recorder(torch.distributed.get_rank())
    twin = tk.distributed.stage(plan, transformer(name).build(), trace=trace)
    assert twin(**inputs_of(name))[0].isfinite().all()
    twin.close()
    return max((event.bytes for event in trace.events if event.kind == "send"), default=0)


def test_only_a_part_of_the_sequence_is_handed_on(cluster):
    """That ranks do share, which equal results alone do not show."""
    whole, half = plan_for("Wan"), plan_for("Wan", sp=2)
    assert cluster.run(sent, "Wan", whole)[0] == 1 * 32 * 64 * 4
    assert cluster.run(sent, "Wan", half)[:2] == [1 * 16 * 64 * 4] * 2


@pytest.mark.parametrize("name", ["Flux", "QwenImage"])
def test_a_text_that_does_not_divide(cluster, name):
    """In turns with one that does; Qwen's has a mask."""
    calls = [inputs_of(name, uneven=True), inputs_of(name), inputs_of(name, uneven=True)]
    assert calls[0]["encoder_hidden_states"].shape[1] % 2
    assert max(differences(cluster, name, plan_for(name, sp=2), calls)) <= ROUNDED


@pytest.mark.parametrize("name", ["Wan", "Flux", "QwenImage"])
def test_shared_weights(cluster, name):
    calls = [inputs_of(name), inputs_of(name, scale=2)]
    assert max(differences(cluster, name, plan_for(name, tp=2), calls)) <= ROUNDED


def test_groups_of_branches(cluster):
    assert differences(cluster, "Wan", plan_for("Wan", cfg=2), [inputs_of("Wan")] * 3) == [EXACT] * 3


def test_all_ranks_share_one_stage(cluster):
    """Four ranks along one axis, without stages beside it."""
    one = Schedule.sequential(1, branches=1)
    for axes, bound in (({"sp": 4}, EXACT), ({"tp": 4}, ROUNDED)):
        plan = StagePlan(StageSplit.even(4, 1), one, **axes)
        assert max(differences(cluster, "Wan", plan, [inputs_of("Wan")])) <= bound


def test_a_mesh_of_the_callers(cluster):
    for axes, bound in (({"sp": 2}, EXACT), ({"tp": 2}, ROUNDED)):
        plan = StagePlan(StageSplit.even(4, 1), Schedule.sequential(1, branches=1), **axes)
        assert max(differences(cluster, "Wan", plan, [inputs_of("Wan")], on_mesh=True)) <= bound


def pipeline_on_rank(name: str, plan: StagePlan, requests: int) -> tuple:
    """Results by the plan and of the whole pipeline, on the rank that has them."""
    tiny = PIPELINES[name]
    pipe = tiny.build()
    before = state_of(pipe.transformer)
    seeds = range(requests)
    more = {"requests": [{"generator": torch.Generator().manual_seed(seed)} for seed in seeds]} if requests else {}
    result = tk.distributed.generate(pipe, plan, **tiny.call(), **more)
    assert state_of(pipe.transformer) == before
    if result is None:
        return ()
    ours = [one[0] for one in result] if requests else [result[0]]
    return ours, [tiny.run(pipe, seed) for seed in (seeds or [0])]


@pytest.mark.parametrize(
    ("name", "axes", "requests", "bound"),
    [
        ("wan", {"cfg": 2}, 0, EXACT),
        ("wan", {"sp": 2}, 0, EXACT),
        ("wan", {"sp": 2}, 2, EXACT),
        ("wan", {"tp": 2}, 0, 1e-5),
        ("flux", {"sp": 2}, 0, 1e-5),
        ("flux", {"tp": 2}, 0, 1e-5),
    ],
)
def test_whole_pipelines(cluster, name, axes, requests, bound):
    """Over six steps roundings add up: 2e-6 were measured."""
    branches = 1 if name == "flux" or "cfg" in axes else 2
    schedule = Schedule.requests(2, branches, requests=2) if requests else Schedule.interleaved(2, branches)
    results = cluster.run(pipeline_on_rank, name, StagePlan(StageSplit.even(6, 2), schedule, **axes), requests)
    assert results[1:] == [()] * 4
    for ours, whole in zip(*results[0], strict=True):
        assert ours.shape == whole.shape
        assert ((ours - whole).abs().max() / whole.abs().max()).item() <= bound


def test_a_worker_keeps_its_part_of_a_pipeline_in_a_folder(cluster, tmp_path):
    tiny = PIPELINES["wan"]
    whole = tiny.run(load(tiny.save(tmp_path)))
    plan = StagePlan(StageSplit.even(6, 2), Schedule.interleaved(2, branches=2), tp=2)
    for _ in range(2):  # loaded and cut, and then found so
        ours = cluster.generate(str(tmp_path), plan, **tiny.call(), progress=False).output
        assert ((ours - whole).abs().max() / whole.abs().max()).item() <= 1e-5


def test_plans_that_cannot_be():
    with pytest.raises(tk.PlanError, match="sp=2 with tp=2"):
        plan_for("Wan", sp=2, tp=2)


def test_refused_before_anything_runs():
    wan = transformer("Wan").build()
    for axis in ("sp", "tp"):
        with pytest.raises(tk.PlanError, match=f"{axis}=3 for WanTransformer3DModel, which has 4 heads"):
            tk.distributed.stages.staged.check(wan, plan_for("Wan", **{axis: 3}))
    with pytest.raises(tk.ModelError, match=r"LTXVideoTransformer3DModel cannot share its sequence .*WanTransf"):
        check_sequence(transformer("LTX").build(), 2)
    wan.blocks[0].attn1.processor._attention_backend = "flex"
    with pytest.raises(tk.ModelError, match="'flex', which cannot share a sequence"):
        check_sequence(wan, 2)
    wan = transformer("Wan").build()
    wan._parallel_config = object()
    with pytest.raises(tk.ModelError, match="parallel already"):
        check_sequence(wan, 2)


class Lone:
    """A mesh of ranks that are not there: refusals come before any message."""

    def __init__(self, size: int) -> None:
        self.size = lambda: size
        self.get_local_rank = lambda: 0


@pytest.mark.parametrize(
    ("name", "parts", "changes", "error", "message"),
    [
        ("Wan", 2, {"hidden_states": torch.ones(1, 4, 3, 10, 6)}, tk.PlanError, "45 tokens.* Use sp=1"),
        ("Wan", 4, {"hidden_states": torch.ones(1, 4, 3, 10, 4)}, tk.PlanError, "30 tokens.* Use sp=2"),
        ("Flux", 2, {"encoder_hidden_states": torch.ones(1, 1, 16)}, tk.PlanError, "1 tokens, fewer than sp=2"),
        ("Flux2", 2, {"img_ids": torch.ones(16, 4)}, tk.PlanError, r"shape \(16, 4\).* 3 dims"),
        ("Flux2", 2, {"kv_cache_mode": "extract"}, tk.NotExact, "kv_cache_mode does not share"),
        (
            "QwenImage", 4,
            {"encoder_hidden_states": torch.ones(1, 5, 16), "encoder_hidden_states_mask": torch.ones(1, 5)},
            tk.NotExact, "masks correctly for two ranks only",
        ),
    ],
)  # fmt: skip
def test_calls_that_cannot_be_shared(name, parts, changes, error, message):
    model = transformer(name).build()
    before = state_of(model)
    sharing = SharedSequence(model, Lone(parts), torch.device("cpu"))
    with pytest.raises(error, match=message), sharing((), inputs_of(name) | changes):
        pass
    assert state_of(model) == before
    with sharing((), inputs_of(name)):
        assert state_of(model) != before
    assert state_of(model) == before
