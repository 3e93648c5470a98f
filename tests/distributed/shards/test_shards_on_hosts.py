"""Which rank has which shard changes whom it talks to, and nothing of the result."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.sharded import QUIET, inputs, relative

import toolkit as tk

CLASSES = ["AutoencoderKL", "AutoencoderKLWan_2.1", "AutoencoderDC_sana"]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("way", ["decode", "encode"])
def test_blocks_give_the_same_bits_as_rows(cluster, name, way):
    vae, x, arguments = inputs(name, way, 9, 7)
    run = cluster.decode if way == "decode" else cluster.encode
    rows, columns = (
        run(vae, x, tk.ShardPlan(2, 2, block=block), arguments=arguments, seed=7, **QUIET) for block in (None, (2, 1))
    )
    assert torch.equal(rows.output, columns.output)
    assert not rows.trace["peer"].equals(columns.trace["peer"])


def test_around_a_ring_blocks_equal_rows_to_rounding(cluster):
    vae, x, arguments = inputs("AutoencoderKL", "decode", 9, 7)
    plan = tk.ShardPlan(2, 2, attention="ring", root=2, block=(2, 1))
    own, sharded = (cluster.decode(vae, x, one, arguments=arguments, seed=7, **QUIET).output for one in (None, plan))
    assert relative(sharded, own) < 1e-5


def test_a_rehearsal_predicts_every_message_of_blocks(cluster):
    vae, x, _ = inputs("AutoencoderKL", "decode", 9, 7)
    plan = replace(tk.ShardPlan(2, 2), block=(2, 1))
    run, rehearsal = cluster.decode(vae, x, plan, **QUIET), tk.rehearse(vae, x, plan)
    columns = ["rank", "peer", "bytes"]
    sent = [one.trace.loc[one.trace["kind"] == "send", columns].groupby(columns[:2]).sum() for one in (run, rehearsal)]
    assert sent[0].equals(sent[1])
