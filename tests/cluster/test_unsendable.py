"""What cannot be sent is named by its path, before a worker hears of it, and the workers stay."""

from __future__ import annotations

import threading

import pytest
import torch
from support import tiny
from support.sharded import QUIET

import toolkit as tk
from toolkit.cluster.unsendable import named


def test_the_innermost_part_is_named():
    vae = tiny.kl()
    assert named(error := TypeError(), vae, "vae") is error
    vae.decoder.conv_in.lock = threading.Lock()
    assert str(named(TypeError(), vae, "vae")).startswith("vae.decoder.conv_in.lock is a lock, which cannot be sent")
    nested = {"callback": [1, (i for i in range(3))]}
    found = named(TypeError(), nested, "call")
    assert isinstance(found, tk.PlanError)
    assert str(found).startswith("call['callback'][1] is a generator")


def test_a_compiled_method_and_a_hook():
    vae = tiny.kl()
    vae.decode = torch.compile(vae.decode, backend="eager")
    assert r"vae.decode is a function" in str(found := named(TypeError(), vae, "vae"))
    assert "del vae.decode" in str(found)
    del vae.decode
    lock = threading.Lock()
    vae.decoder.register_forward_hook(lambda *_: lock.locked())
    assert "vae.decoder's hook 0" in str(named(TypeError(), vae, "vae"))


def test_other_errors_pass():
    error = OSError("disk full")
    assert named(error, threading.Lock(), "lock") is error


def test_a_lock_in_a_model_or_an_argument_leaves_the_workers(cluster):
    vae, x = tiny.kl(), tiny.latent("kl", 8, 8)
    expected, pids = cluster.decode(vae, x, **QUIET).output, cluster.pids
    vae.decoder.conv_in.lock = threading.Lock()
    with pytest.raises(tk.ModelError, match=r"AutoencoderKL\.decoder\.conv_in\.lock is a lock"):
        cluster.decode(vae, x, **QUIET)
    del vae.decoder.conv_in.lock
    with pytest.raises(tk.PlanError, match=r"call\['call'\]\.options\.arguments\['lock'\] is a lock"):
        cluster.decode(vae, x, arguments={"lock": threading.Lock()}, **QUIET)
    with pytest.raises(tk.PlanError, match=r"call\['arguments'\]\[0\] is a generator"):
        cluster.run(print, (i for i in range(3)))
    assert torch.equal(cluster.decode(vae, x, **QUIET).output, expected)
    assert cluster.pids == pids


def test_a_compiled_model_and_what_is_not_finite_are_in_the_record(cluster):
    vae, x = tiny.kl(), tiny.latent("kl", 8, 8)
    plain = cluster.decode(vae, x, **QUIET)
    run = cluster.decode(torch.compile(vae, backend="eager"), x.clone().requires_grad_(), **QUIET)
    assert torch.equal(run.output, plain.output)
    assert not run.output.requires_grad
    assert run.record.what["compiled code"].startswith("not used")
    assert run.record.model == plain.record.model
    x[0, 1, 2, 3] = torch.nan
    with pytest.warns(tk.errors.NotFiniteWarning, match="1 of 256") as told:
        run = cluster.decode(vae, x, **QUIET)
    assert told[0].filename == __file__
    assert run.record.what["not finite in the input"] == {"values": 1, "first": [0, 1, 2, 3]}


def test_bad_inputs_are_refused_before_a_worker_starts():
    vae, x = tiny.kl(), tiny.latent("kl", 8, 8)
    with tk.Cluster(ranks=1, device="cpu", start="forkserver") as one:
        with pytest.raises(tk.PlanError, match=r"latent is torch\.int64"):
            one.decode(vae, x.long(), **QUIET)
        with pytest.raises(tk.PlanError, match=r"decode of shape \(4, 8, 8\)"):
            one.decode(vae, x[0], **QUIET)
        with pytest.raises(tk.ModelError, match="is on the meta device"):
            one.decode(tiny.kl().to("meta"), x, **QUIET)
        with pytest.raises(tk.ModelError, match="the model is None"):
            one.decode(None, x, **QUIET)
