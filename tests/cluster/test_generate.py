"""Generate on a cluster: pipelines here and in folders, noise, callbacks, memory; what a notebook sees of it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from support.pipelines import PIPELINES, load
from support.staged import QUIET, plans

import toolkit as tk
from toolkit.cluster.generate_request import GenerateRequest
from toolkit.models.transformers.pipeline_parts import experts_of

FROM_DISK = ["wan_ti2v", "wan_a14b", "wan_i2v_a14b", "flux", "qwen_image"]


@pytest.fixture(scope="module")
def three():
    with tk.Cluster(ranks=3, device="cpu", start="forkserver") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipelines")
    return {name: PIPELINES[name].save(folder / name) for name in FROM_DISK}


@pytest.mark.parametrize("name", FROM_DISK)
def test_each_rank_loads_its_own_part_from_disk(three, saved, name):
    tiny, whole = PIPELINES[name], load(saved[name])
    plan = plans(whole, tk.Schedule.interleaved(3, 1 if name == "flux" else 2), encoders=2)
    taken = []
    for seed in (1, 2):  # the second without loading
        run = three.generate(saved[name], plan, **QUIET, **tiny.call(seed))
        assert torch.equal(run.output, tiny.run(whole, seed))
        loads = run.trace[run.trace["kind"] == "load"]
        taken.append((loads["end"] - loads["start"]).sum())
    assert taken[1] < taken[0] / 5


def test_bfloat16_from_disk(three, saved):
    tiny, whole = PIPELINES["wan_a14b"], load(saved["wan_a14b"], dtype=torch.bfloat16)
    plan = plans(whole, tk.Schedule.looped(2, 2, 2))
    run = three.generate(saved["wan_a14b"], plan, load={"dtype": torch.bfloat16}, **QUIET, **tiny.call(1))
    assert torch.equal(run.output, tiny.run(whole, 1))


def test_weights_of_a_rank_are_its_share(three, saved):
    """Resident after a call: own layers, what lies around the layers, and the modules that the plan has there."""
    folder, layers = saved["wan_a14b"], load(saved["wan_a14b"])
    plan = plans(layers, tk.Schedule.interleaved(3, 2), encoders=1)
    three.generate(folder, plan, **QUIET, **PIPELINES["wan_a14b"].call())

    def held() -> dict[str, int]:
        import gc  # noqa: PLC0415

        pipes = [one for one in gc.get_objects() if type(one).__name__ == "WanPipeline" and "transformer" in vars(one)]
        (pipe,) = {id(pipe): pipe for pipe in pipes if not pipe.transformer.blocks[0].training}.values()
        modules = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
        return {name: sum(p.nbytes for p in module.parameters() if not p.is_meta) for name, module in modules.items()}

    def of(module: torch.nn.Module) -> int:
        return sum(p.nbytes for p in module.parameters())

    answers = three.run(held)
    for rank, answer in enumerate(answers):
        for name in experts_of(layers):
            model = getattr(layers, name)
            around = of(model) - of(model.blocks)
            own = sum(of(model.blocks[i]) for span in plan[name].layers_of(rank) for i in range(span.start, span.stop))
            assert answer[name] == around + own
        assert answer["text_encoder"] == (of(layers.text_encoder) if rank == 1 else 0)
        assert answer["vae"] == (of(layers.vae) if rank == 0 else 0)


def test_noise_of_the_global_generator_is_drawn_once_and_here(three):
    tiny = PIPELINES["wan"]
    pipe = tiny.build()
    call = {key: value for key, value in tiny.call().items() if key != "generator"}
    plan = plans(pipe, tk.Schedule.interleaved(2, 2))
    with torch.random.fork_rng():
        torch.manual_seed(11)
        ours = three.generate(pipe, plan, **QUIET, **call).output
        after = torch.rand(1)
        torch.manual_seed(11)
        assert torch.equal(ours, pipe(**call)[0])
        assert torch.equal(after, torch.rand(1))


def test_a_generator_stands_where_the_pipeline_would_leave_it(three):
    tiny = PIPELINES["wan_i2v_a14b"]
    pipe = tiny.build()
    ours, theirs = tiny.call(9), tiny.call(9)
    plan = plans(pipe, tk.Schedule.interleaved(2, 2))
    for _ in range(2):  # from where the first call left it
        run = three.generate(pipe, plan, **QUIET, **ours)
        assert torch.equal(run.output, pipe(**theirs)[0])


def test_a_callback_may_change_latents(three):
    tiny = PIPELINES["wan"]
    pipe = tiny.build()

    def halve(pipe, i, t, kwargs):
        return {"latents": kwargs["latents"] * (0.5 if i == 2 else 1)}

    call = tiny.call(1, callback_on_step_end=halve)
    ours = three.generate(pipe, plans(pipe, tk.Schedule.interleaved(3, 2)), **QUIET, **call).output
    assert torch.equal(ours, tiny.run(pipe, 1, callback_on_step_end=halve))
    assert not torch.equal(ours, tiny.run(pipe, 1))


def test_a_branch_that_stays_empty_is_said(three):
    flux, wan = PIPELINES["flux"], PIPELINES["wan"]
    pipe = flux.build()
    with pytest.warns(
        UserWarning, match="FluxPipeline called its transformer once per step, and the plan has 2 branch"
    ):
        run = three.generate(pipe, plans(pipe, tk.Schedule.interleaved(2, 2)), **QUIET, **flux.call(1))
    assert torch.equal(run.output, flux.run(pipe, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe = wan.build()
        three.generate(pipe, plans(pipe, tk.Schedule.interleaved(2, 2)), **QUIET, **wan.call(1))
        three.generate(pipe, plans(pipe, tk.Schedule.sequential(2, 2)), **QUIET, **wan.call(1))


@pytest.mark.parametrize("kind", ["np", "pt", "pil"])
def test_what_a_pipeline_returns_comes_back(three, kind):
    tiny = PIPELINES["flux"]
    pipe = tiny.build()
    run = three.generate(pipe, plans(pipe, tk.Schedule.interleaved(2, 1)), **QUIET, **tiny.call(1, output_type=kind))
    own = pipe(**tiny.call(1, output_type=kind))
    assert type(run.result) is type(own)
    assert type(run.output) is type(own.images)
    assert np.array_equal(np.asarray(run.output[0]), np.asarray(own.images[0]))


def test_the_pipelines_own_call_on_one_rank(three):
    tiny = PIPELINES["qwen_image"]
    pipe = tiny.build()
    expected = tiny.run(pipe, 1)  # its text encoder has been used, and holds hooks that no pickle takes
    assert torch.equal(three.generate(pipe, None, **QUIET, **tiny.call(1)).output, expected)


def test_a_run_says_what_it_was(three, capsys):
    tiny = PIPELINES["wan"]
    pipe = tiny.build()
    run = three.generate(pipe, plans(pipe, tk.Schedule.interleaved(2, 2)), **tiny.call(1))
    shown = capsys.readouterr()
    assert "6 steps" in shown.out
    assert repr(run).startswith("Run(1x4x3x4x6 by 2 stages over 2 ranks")
    assert run.record.what["call"] == "generate"
    assert run.record.input["prompt"] == tiny.arguments["prompt"]
    assert len(run.peaks) == 2
    steps = {label.split()[2] for label in run.trace.loc[run.trace["kind"] == "stage", "label"]}
    assert steps == set("012345")
    with warnings.catch_warnings():
        assert "stretches" in run.summary().columns


def test_in_the_background(three):
    tiny = PIPELINES["wan"]
    pipe = tiny.build()
    job = three.generate(pipe, plans(pipe, tk.Schedule.interleaved(2, 2)), block=False, progress=False, **tiny.call(1))
    assert torch.equal(job.result(timeout=60).output, tiny.run(pipe, 1))
    assert job.progress == {0: (6, 6)}


WRONG = {
    "wrapped": (
        lambda pipe: setattr(pipe, "transformer", torch.nn.DataParallel(pipe.transformer)),
        r"pipe\.transformer\.module",
    ),
    "without weights": (lambda pipe: pipe.vae.to("meta"), r"pipe\.vae\..* is on the meta device"),
    "offloaded": (lambda pipe: pipe.enable_sequential_cpu_offload(device="cpu"), r"by accelerate.*remove_all_hooks"),
}


@pytest.mark.parametrize("what", WRONG)
def test_modules_that_cannot_be_sent_are_refused_before_a_worker_starts(what):
    change, message = WRONG[what]
    pipe = PIPELINES["wan"].build()
    plan = plans(pipe, tk.Schedule.looped(2, 2, 2))
    change(pipe)
    for way in (plan, None):
        request = GenerateRequest(pipe, way, {}, None, memory=False)
        with pytest.raises(tk.ModelError, match=message):
            request.check(2)
