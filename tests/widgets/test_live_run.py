"""Watching a run: rows follow its events, Cancel ends it and its workers, and the last view shows its end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import SimpleNamespace
from xml.etree import ElementTree

import psutil
import pytest
from support import tiny

import toolkit as tk
from toolkit.cluster.engines.local.processes import resident_bytes
from toolkit.widgets import live_view
from toolkit.widgets.ipywidgets_compat import WIDGET_MIME


@pytest.fixture(scope="module")
def two() -> Iterator[tk.Cluster]:
    with tk.Cluster(ranks=2, device="cpu", start="forkserver") as cluster:
        yield cluster


def own_tiles(vae, latent, ranks: int = 2) -> tk.TilePlan:
    grid = tk.diffusers_grid(vae, latent.shape)
    return tk.TilePlan(grid, tk.Blend.diffusers(), tk.Assignment.round_robin(grid, ranks))


def short(cluster) -> tk.Job:
    vae, latent = tiny.kl(), tiny.latent("kl", 20, 20)
    return cluster.decode(vae, latent, own_tiles(vae, latent), block=False, progress=False)


def long(cluster) -> tk.Job:
    vae, latent = tiny.wan21(), tiny.latent("wan21", 60, 60, frames=9)
    return cluster.decode(vae, latent, own_tiles(vae, latent), block=False, progress=False)


def until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rows(page: str) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in ElementTree.fromstring(page).iter("tr")]


def test_a_run_to_its_end(two):
    job = short(two)
    live = tk.widgets.live(job, title="Decode")
    run = live.result(timeout=60)
    assert run is job.result()
    assert live.outcome == "done"
    assert repr(live) == "LiveRun(done, 16 of 16)"
    assert live.eta is None
    head, *lines = rows(live.html)
    assert head == ["rank", "done", "resident", "last"]
    assert [line[:2] for line in lines] == [["0", "8 of 8"], ["1", "8 of 8"]]
    for state, line in zip(live.ranks, lines, strict=True):
        ended = run.trace[run.trace["rank"] == state.rank]
        assert state.last == line[3]
        assert state.last in {f"{row.kind} {row.label}".strip() for row in ended.itertuples()}
        assert state.resident > 10_000_000
    assert "Decode" in live.html
    assert live._cancel.disabled


def test_rows_follow_while_it_goes_on_and_cancel_ends_it_and_its_workers(two):
    two.run(int)
    workers = [psutil.Process(pid) for pid in two.pids]
    live = tk.widgets.live(long(two))
    assert live.outcome == "running"
    assert not live._cancel.disabled
    until(lambda: all(state.done for state in live.ranks))
    assert all(0 < state.done < state.total for state in live.ranks)
    assert 0 < live.eta < 600
    until(lambda: "s left" in live.html)
    before, begin = live.html, time.monotonic()
    until(lambda: live.html != before)
    live._cancel.click()
    assert time.monotonic() - begin < 1, "the button must not hold up the kernel"
    assert live.job.wait(2), "a cancelled run has 2 s to end"
    assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]
    live.settle(5)
    assert live.outcome == "cancelled"
    assert "cancelled after" in live.html
    assert [state.resident for state in live.ranks] == [None, None]
    with pytest.raises(tk.RunCancelled):
        live.result()
    assert two.run(int) == [0, 0]


def test_a_fault_is_shown_under_its_rank_with_its_traceback(two):
    vae, latent = tiny.kl(), tiny.latent("kl", 20, 20)
    vae.decoder.conv_out.weight = None
    live = tk.widgets.live(two.decode(vae, latent, own_tiles(vae, latent), block=False, progress=False))
    with pytest.raises(tk.RankFailed) as caught:
        live.result(timeout=60)
    assert live.outcome == "failed"
    page = ElementTree.fromstring(live.html)
    assert page.findtext(".//p[@role='alert']/b") == f"rank {caught.value.rank}"
    assert "Traceback" in page.findtext(".//details/pre")


def test_a_function_gets_a_button_that_starts_it_again(two):
    jobs = []
    live = tk.widgets.live(lambda: jobs.append(short(two)) or jobs[-1])
    assert (live.outcome, live.ranks, repr(live)) == ("not started", (), "LiveRun(not started)")
    with pytest.raises(tk.ToolkitError, match="no run has been started"):
        live.result()
    for count in (1, 2):
        live._run.click()
        live._run.click()  # while it runs: nothing
        live.result(timeout=60)
        assert len(jobs) == count
    assert live.job is jobs[-1]


def test_a_refused_start_says_why(two):
    vae, latent = tiny.kl(), tiny.latent("kl", 20, 20)
    plan = own_tiles(vae, latent, ranks=3)
    live = tk.widgets.live(lambda: two.decode(vae, latent, plan, block=False))
    live.start()
    assert live.outcome == "refused"
    assert "the plan is for 3 ranks, the cluster has 2" in live.html


def test_the_button_shows_any_error_and_code_raises_it():
    def broken():
        raise OSError("no space left on device")

    live = tk.widgets.live(broken)
    live._run.click()
    assert live.outcome == "refused"
    assert "OSError: no space left on device" in live.html
    with pytest.raises(OSError, match="no space"):
        live.start()


def test_what_is_displayed_after_the_end_is_static(two, monkeypatch):
    shown = []
    monkeypatch.setattr("toolkit.widgets.live_run.display", lambda data, **how: shown.append((data, how)))
    live = tk.widgets.live(short(two))
    live.result(timeout=60)
    live._ipython_display_()
    assert shown == [({"text/plain": repr(live), "text/html": live.html}, {"raw": True})]


def test_what_is_displayed_while_it_runs_becomes_static_at_its_end(two, monkeypatch):
    shown, handle = [], SimpleNamespace(update=lambda data, raw: shown.append(data))
    monkeypatch.setattr("toolkit.widgets.live_run.display", lambda data, **how: shown.append(data) or handle)
    live = tk.widgets.live(long(two))
    live._ipython_display_()
    assert set(shown[0]) == {WIDGET_MIME, "text/html", "text/plain"}
    live.cancel()
    assert shown[1:] == [{"text/plain": repr(live), "text/html": live.html}]
    assert "LiveRun(cancelled" in repr(live)


def test_anything_else_is_refused():
    with pytest.raises(tk.ToolkitError, match="run=3: give the job that"):
        tk.widgets.live(3)


def test_resident_memory_of_this_process():
    mine = psutil.Process(os.getpid()).memory_info().rss
    assert 0.5 * mine < resident_bytes(os.getpid()) < 2 * mine
    assert resident_bytes(2**30) is None


def test_ranks_of_other_hosts_say_where_they_are_and_not_what_a_process_here_holds():
    """Their process ids belong to other machines, where others may have them."""
    mine = os.getpid()
    job = SimpleNamespace(progress={0: (1, 2), 1: (0, 2)}, pids=[mine, mine], hosts=["", "right (10.0.0.2)"], heard={})
    here, there = live_view.states(job)
    assert here.resident > 1_000_000
    assert (there.resident, there.host) == (None, "right (10.0.0.2)")
    head, *lines = rows(live_view.rows([here, there]))
    assert head == ["rank", "host", "done", "resident", "last"]
    assert [line[1] for line in lines] == ["here", "right (10.0.0.2)"]
