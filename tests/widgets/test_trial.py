"""Trials: a run is compared with its prediction, and any error is shown."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch
from support import tiny
from support.explored import COST, explorer

import toolkit as tk
from toolkit.numerics.convolution import convolution_kernels


def test_without_a_cluster_the_button_says_why():
    one = explorer()
    assert one.trial._button.disabled
    assert "cluster=" in one.trial._note.value
    with pytest.raises(tk.ToolkitError, match="cluster="):
        one.trial.start()


def test_a_run_is_shown_beside_what_was_predicted(cluster):
    vae, latent = tiny.kl(), tiny.latent("kl", 20, 20)
    one = tk.widgets.explore(vae, latent, ranks=2, cluster=cluster, tile=12, overlap=4, cost=COST)
    one.trial._button.click()
    assert one.trial._button.disabled
    assert one.trial.wait(60)
    assert not one.trial._button.disabled
    run, reference = one.trial.run, one.trial.reference
    assert run.plan == one.plan
    with torch.no_grad(), convolution_kernels("onednn"):
        assert torch.equal(reference.output, vae.decode(latent).sample)
    assert one.trial.comparison.max_abs == (run.output - reference.output).abs().max() > 0
    assert f"{one.trial.comparison.psnr:.2f} dB" in one.html
    assert one.html.count('<img src="data:image/png') == 1
    one.overlap = 6
    one.trial.start()
    assert one.trial.wait(60)
    assert one.trial.reference is reference
    assert one.trial.run.plan == one.plan != run.plan


def test_a_plan_for_more_ranks_than_there_are_is_refused_where_the_result_would_be(cluster):
    one = tk.widgets.explore(tiny.kl(), tiny.latent("kl", 20, 20), ranks=6, cluster=cluster, cost=COST)
    one.trial.start()
    assert one.trial.wait(60)
    assert "the plan is for 6 ranks, the cluster has 5" in one.html
    assert one.trial.run is None


def test_the_reference_is_never_tiled(cluster):
    vae = tiny.kl()
    vae.enable_tiling()
    one = tk.widgets.explore(vae, tiny.latent("kl", 20, 20), ranks=2, cluster=cluster, cost=COST)
    one.trial.start()
    assert one.trial.wait(60)
    assert "has its own tiling enabled" in one.html
    assert one.trial.reference is None


@pytest.mark.parametrize("error", [OSError("no space left on device"), ValueError("a <b> & c"), SystemExit(3)])
def test_any_error_is_shown_in_place_of_the_result(error):
    class Broken:
        def decode(self, *args, **options):
            raise error

    one = explorer(cluster=Broken())
    one.trial.start()
    assert one.trial.wait(30)
    shown = "".join(ElementTree.fromstring(one.trial.html).itertext())
    assert type(error).__name__ in shown
    assert str(error) in shown
    assert not one.trial._button.disabled, "the next try is possible"
