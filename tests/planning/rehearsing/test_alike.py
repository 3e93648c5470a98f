"""Renamed scripts are those that the ranks would have written themselves."""

from __future__ import annotations

import pytest
import torch

from toolkit.geometry import ShardPlan
from toolkit.models.autoencoders.census import specimen
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.options import Options
from toolkit.models.autoencoders.sharding import sharding_of
from toolkit.planning.rehearsing.alike import Lattice, Renaming, representatives
from toolkit.planning.rehearsing.fake_tensors_compat import without_data
from toolkit.planning.rehearsing.script import Post
from toolkit.planning.rehearsing.writing import Piece, Writer


@pytest.mark.parametrize(
    ("name", "hw", "plan"),
    [
        ("AutoencoderKL", (20, 4), ShardPlan(h=5)),
        ("AutoencoderKL", (16, 20), ShardPlan(h=4, w=4, root=5)),
        ("AutoencoderKLWan_2.1", (30, 5), ShardPlan(h=5, attention="ring")),
        ("AutoencoderKLWan_2.1", (5, 23), ShardPlan(w=5)),
        ("AutoencoderDC_sana", (16, 16), ShardPlan(h=4, w=4, attention="ring")),
        ("AutoencoderKL", (16, 20), ShardPlan(h=4, w=4, root=5, block=(2, 2))),
        ("AutoencoderDC_sana", (16, 16), ShardPlan(h=4, w=4, attention="ring", block=(4, 1))),
    ],
)
def test_renamed_scripts_are_those_that_ranks_write(name, hw, plan):
    chosen = specimen(name)
    vae, shape = chosen.build(), tuple(chosen.latent(*hw).shape)
    call = ModelCall("decode", Options(arguments=chosen.call, seed=0))
    piece = Piece(vae, shape, plan, call, torch.device("cpu"), "onednn")
    parts = sharding_of(vae, call).parts(plan, shape)
    like = representatives(plan, parts)
    renamed = {rank: source for rank, source in like.items() if rank != source}
    assert renamed
    for rank, source in list(renamed.items())[:2]:
        with without_data():
            write = Writer(piece)
            written, own = write(source), write(rank)
        got = Renaming(Lattice(plan, parts), source=source, target=rank).script(written)
        assert [got.named(step) if isinstance(step, Post) else step for step in got.steps] == own.steps
        assert (got.recorded(), got.ends()) == (own.events, own.ends())


@pytest.mark.parametrize(
    ("plan", "rows"),
    [
        (ShardPlan(h=5, borders="recompute"), (8,) * 5),
        (ShardPlan(h=5), (3,) * 5),
        (ShardPlan(h=5, attention="ring"), (9, 8, 8, 8, 8)),
    ],
    ids=["recompute", "thin", "uneven ring"],
)
def test_shards_that_differ_are_each_written(plan, rows):
    assert representatives(plan, {"h": rows, "w": (4,)}) == {rank: rank for rank in range(5)}


def test_a_large_lattice_has_few_kinds():
    like = representatives(ShardPlan(h=32, w=32), {"h": (9,) * 14 + (8,) * 18, "w": (15,) * 32})
    assert (len(like), len(set(like.values()))) == (1024, 12)
