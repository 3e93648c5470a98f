"""Who sends how much to whom, by host: measured, predicted, and both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.plotted import LIMIT, weight

import toolkit as tk
from toolkit import plot
from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry import ShardPlan, Topology

TWO = Topology(hosts=2, per_host=2)
SHAPE = (1, 16, 12, 20)


@pytest.fixture(scope="module")
def rehearsal():
    return tk.rehearse(tk.demo.image_vae().to("meta"), SHAPE, ShardPlan.over(TWO, {"h": 12, "w": 20}), topology=TWO)


def named(run, names):
    return replace(run, record=replace(run.record, what={**run.record.what, "hosts": names}))


class TestHosts:
    def test_cells_are_what_was_sent(self, run):
        # Every rank of three sends 800 kB to the next one.
        figure = plot.hosts(named(run, ["a", "a", "b"]))
        heat, *_ = figure.data
        np.testing.assert_array_equal(heat.z, [[800, 800], [800, np.nan]])
        assert [list(row) for row in heat.text] == [["800 kB", "800 kB"], ["800 kB", ""]]
        assert figure.describe() == "measured 1.6 MB between hosts in 8 messages, most 800 kB from a to b."
        assert figure.layout.xaxis.ticktext == ("a", "b")

    def test_every_cell_between_hosts_is_framed_and_no_other(self, run):
        figure = plot.hosts(run, Topology(hosts=3))
        white, frames = (trace for trace in figure.data if trace.type == "scatter")
        corners = np.array([frames.x, frames.y], dtype=float).T
        cells = {tuple(cell) for cell in np.round(corners[~np.isnan(corners[:, 0])]).astype(int)}
        assert cells == {(i, j) for i in range(3) for j in range(3) if i != j}
        assert (white.showlegend, frames.showlegend, frames.name) == (False, True, "slow link, between hosts")

    def test_a_rehearsal_has_its_own_hosts(self, rehearsal):
        figure = plot.hosts(rehearsal)
        assert figure.layout.xaxis.ticktext == ("host 0", "host 1")
        assert figure.layout.xaxis.title.text == "predicted: to (host)"
        table = figure.to_dataframe()
        assert table["predicted bytes"].sum() == rehearsal.messages["bytes"].sum()
        far = table.loc[table["from host"] != table["to host"], "predicted bytes"].sum()
        assert far == sum(
            size for a, b, _, size in rehearsal.messages.itertuples(index=False) if TWO.host_of(a) != TWO.host_of(b)
        )

    def test_predicted_beside_measured_on_the_hosts_of_the_run(self, rehearsal, sharded):
        run = named(sharded(rehearsal.way, rehearsal.trace), ["x"] * 2 + ["y"] * 2)
        figure = plot.hosts(run, predicted=rehearsal)
        left, right = (trace for trace in figure.data if trace.type == "heatmap")
        np.testing.assert_array_equal(left.z, right.z)
        assert (left.showscale, right.showscale) == (False, True)
        assert (left.zmax, right.xaxis, right.yaxis) == (right.zmax, "x2", "y2")
        assert figure.layout.xaxis.ticktext == figure.layout.xaxis2.ticktext == ("x", "y")
        table = figure.to_dataframe()
        assert table["measured bytes"].tolist() == table["predicted bytes"].tolist()
        assert "measured" in figure.describe()
        assert "predicted" in figure.describe()

    def test_many_hosts_are_drawn_without_numbers(self, large):
        figure = plot.hosts(large, Topology(hosts=64))
        assert weight(figure) < LIMIT
        assert figure.data[0].text is None
        assert [trace.type for trace in figure.data] == ["heatmap"]

    def test_long_names_are_cut_on_the_axes_only(self, run):
        long = ["one-of-the-very-long-names.example.org (10.0.0.1)"] * 2 + ["b"]
        figure = plot.hosts(named(run, long))
        assert len(figure.layout.yaxis.ticktext[0]) <= 22
        assert figure.to_dataframe()["from host"][0] == long[0]

    def test_refusals(self, run, rehearsal):
        with pytest.raises(ToolkitError, match="are on one host: give topology="):
            plot.hosts(run)
        with pytest.raises(ToolkitError, match="are on one host: give topology="):
            plot.hosts(run, Topology(per_host=3))
        with pytest.raises(ToolkitError, match="rank 2 sent or received messages, and hosts are given for 2 ranks"):
            plot.hosts(run, Topology(hosts=2))
        with pytest.raises(PlanError, match=r"topology=2: must be a tk\.Topology"):
            plot.hosts(run, 2)
        with pytest.raises(ToolkitError, match="this figure draws a run"):
            plot.hosts(run.plan)
        for what, predicted in ((run, run), (rehearsal, rehearsal), (run, 3)):
            with pytest.raises(ToolkitError, match="predicted= takes a rehearsal"):
                plot.hosts(what, TWO, predicted)


def test_a_run_s_messages_by_host(run):
    table = named(run, ["a", "b", "b"]).host_messages()
    assert table.values.tolist() == [["a", "b", 4, 800_000], ["b", "a", 4, 800_000], ["b", "b", 4, 800_000]]
    assert run.host_messages(Topology(2, (1, 2)))["sender"].tolist() == ["host 0", "host 1", "host 1"]
    assert run.host_messages(["z", "z", "z"]).values.tolist() == [["z", "z", 12, 2_400_000]]
    assert (run.hosts, named(run, ["a"] * 3).hosts) == ([], ["a"] * 3)
    with pytest.raises(ToolkitError, match="were on one host: give hosts="):
        run.host_messages()
    with pytest.raises(ToolkitError, match="does not say who receives"):
        replace(run, trace=run.trace.drop(columns="peer")).host_messages(["a"] * 3)


def test_a_rehearsal_s_messages_by_host_are_those_of_its_trace(rehearsal, sharded):
    twin = sharded(rehearsal.way, rehearsal.trace)
    assert rehearsal.host_messages().equals(twin.host_messages(TWO))
    assert rehearsal.hosts == ["host 0"] * 2 + ["host 1"] * 2
