"""A model with code that nobody has looked at: tried out once, refused where it is not exact, and recorded."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

import toolkit as tk
from toolkit.models.autoencoders.census import CENSUS

PLAN = tk.ShardPlan(h=2)
TRIED = "tried out on shards"


def local_height(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
    return output * (1 + 0.05 * output.shape[-2])


def doubled(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
    return output * 2


def model(hook=None):
    kl = CENSUS["AutoencoderKL"]
    vae = kl.build()
    if hook is not None:
        vae.decoder.conv_in.register_forward_hook(hook)
    return vae, kl.latent(9, 8)


def test_a_hook_that_reads_the_local_height_is_refused(cluster):
    """It ran, and the sample was wrong by a third."""
    vae, latent = model(local_height)
    with pytest.raises(tk.RankFailed, match=r"NotExact: AutoencoderKL by ShardPlan\(2 x 1.*has a hook, local_height"):
        cluster.decode(vae, latent, PLAN, progress=False)
    # It is not trusted by having been tried.
    with pytest.raises(tk.RankFailed, match="NotExact"):
        cluster.decode(vae, latent, PLAN, progress=False)


def test_a_hook_that_is_exact_is_recorded(cluster):
    vae, latent = model(doubled)
    own = cluster.decode(vae, latent, progress=False).output
    for _ in range(2):
        run = cluster.decode(vae, latent, PLAN, progress=False)
        assert torch.allclose(run.output, own, rtol=0, atol=1e-5)
        found = run.record.what[TRIED]
        assert found["because"] == "decoder.conv_in has a hook, doubled"
        assert found["input"] == [1, 4, 5, 3]
        assert found["relative error"] < 1e-5 < found["bound"]
        assert run.trace["label"].str.contains("tri").sum() == 0


def test_it_is_tried_once_for_each_plan_and_direction(cluster):
    vae, latent = model()
    sample = CENSUS["AutoencoderKL"].sample(9, 8)

    def calls_made(vae, latent, sample) -> list[int]:
        count = [0]

        def counted(*_: object) -> None:
            count[0] += 1

        vae.decoder.register_forward_hook(counted)
        vae.encoder.register_forward_hook(counted)
        made = []
        wide = tk.ShardPlan(w=2)
        for code, x, plan in (
            [("decode", latent, PLAN)] * 2 + [("decode", latent, wide)] + [("encode", sample, PLAN)] * 2
        ):
            count[0] = 0
            getattr(tk.distributed, code)(vae, x, plan)
            made.append(count[0])
        return made

    root, other, *rest = cluster.run(calls_made, vae, latent, sample)
    assert root == [3, 1, 3, 3, 1]
    assert other == [2, 1, 2, 2, 1]
    assert rest == [[0] * 5] * 3


def test_a_model_without_added_code_is_not_tried(cluster):
    vae, latent = model()
    assert TRIED not in cluster.decode(vae, latent, PLAN, progress=False).record.what


def test_ranks_that_remember_different_things_agree(cluster):
    """A fault between the verdict and its being noted leaves them so."""
    vae, latent = model(doubled)

    def spmd(vae, latent):
        from toolkit.distributed.shards import try_out  # noqa: PLC0415

        first = tk.distributed.decode(vae, latent, PLAN)
        if dist.get_rank() == 1:
            try_out._trusted.clear()
        second = tk.distributed.decode(vae, latent, PLAN)
        return first is None or torch.equal(first, second)

    assert cluster.run(spmd, vae, latent, timeout=60) == [True] * 5


def test_a_hook_on_one_rank_alone():
    """As for a look at shapes. The rank that has it must not wait for messages that nobody sends."""
    vae, latent = model()

    def spmd(vae, latent):
        if dist.get_rank() == 1:
            vae.decoder.conv_in.register_forward_hook(lambda *_: None)
        output = tk.distributed.decode(vae, latent, PLAN)
        return None if output is None else output.sum().item()

    with tk.Cluster(ranks=2, device="cpu", start="forkserver") as two:
        own = two.decode(vae, latent, progress=False).output.sum().item()
        assert two.run(spmd, vae, latent, timeout=60) == [pytest.approx(own, rel=1e-5), None]


def test_a_rehearsal_does_not_try():
    vae, latent = model(local_height)
    assert len(tk.rehearse(vae, latent, PLAN).trace)


def sizes_of_its_own(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
    """A sum over cells of as many numbers as the map has rows here."""
    flat = output.flatten(2)
    return output + (flat @ flat.transpose(1, 2).repeat(1, 1, output.shape[2])).mean()


def test_messages_of_different_sizes_are_refused():
    """The process was ended by SIGABRT, and nobody was told why."""
    vae, latent = model(sizes_of_its_own)
    with tk.Cluster(ranks=2, device="cpu", start="forkserver") as two:
        with pytest.raises(tk.RankFailed, match=r"NotExact: sum in decoder.*bytes where \d+ bytes are expected"):
            two.decode(vae, latent, PLAN, progress=False, timeout=60)
        pids = two.pids
        with pytest.raises(tk.RankFailed, match="NotExact"):
            two.decode(vae, latent, PLAN, progress=False, timeout=60)
        assert two.pids == pids


@pytest.mark.parametrize(
    "hook",
    [
        lambda module, args, x: x * x.mean(axis=1, keepdims=True),
        lambda module, args, x: x * torch.mean(input=x, axis=(2, 3), keepdims=True),
        lambda module, args, x: x * x.mean(dim=()),
        lambda module, args, x: torch.cat(x.chunk(2, axis=1), axis=1) * x.softmax(axis=1),
        lambda module, args, x: torch.where(condition=x > 0, input=x, other=x.abs()),
    ],
    ids=["one axis", "the map", "all", "views", "where"],
)
def test_arguments_by_the_names_of_numpy(cluster, hook):
    """``axis`` was taken for no dim at all, and ranks sent sums of different sizes: SIGABRT."""
    vae, latent = model(hook)
    own = cluster.decode(vae, latent, progress=False).output
    output = cluster.decode(vae, latent, PLAN, progress=False, timeout=60).output
    assert float((output - own).abs().max() / own.abs().max()) < 1e-5


def test_attention_without_a_fused_kernel_is_exact(cluster):
    """diffusers' AttnProcessor computes its scores by ``baddbmm``."""
    vae, latent = model()
    vae.set_attn_processor(AttnProcessor())
    own = cluster.decode(vae, latent, progress=False).output
    for plan in (PLAN, tk.ShardPlan(w=3)):
        output = cluster.decode(vae, latent, plan, progress=False, timeout=60).output
        assert float((output - own).abs().max() / own.abs().max()) < 1e-5


def test_baddbmm_that_adds_is_refused(cluster):
    vae, latent = model(added)
    with pytest.raises(tk.RankFailed, match=r"baddbmm.*it adds to a product"):
        cluster.decode(vae, latent, PLAN, progress=False, timeout=60)


def added(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
    rows = output.flatten(2).transpose(1, 2)
    return output + torch.baddbmm(torch.zeros(1, 1, 1), rows, rows.transpose(1, 2)).mean()
