"""Memory: the meter against known programs, and the law that plans promise against what ranks allocate."""

from __future__ import annotations

from math import prod

import pytest
import torch
from support import tiny

import toolkit as tk
from toolkit.runs.memory import MAX_POINTS, MemoryCurve, measured
from toolkit.runs.run_tables import memory_table, peak_table
from toolkit.runs.trace import clock

MEGA = 1_000_000
CPU = torch.device("cpu")


def curve_of(work) -> MemoryCurve:
    curve = MemoryCurve(3)
    with measured(curve, CPU, origin=clock()):
        work()
    return curve


def test_a_program_whose_peak_is_known():
    def work() -> None:
        a = torch.empty(MEGA)  # 4 MB
        b = torch.empty(2 * MEGA)  # 12 MB in all
        del a
        c = torch.empty(MEGA // 2)  # 10 MB
        del b, c

    curve = curve_of(work)
    assert curve.peak == 12 * MEGA
    assert curve.bytes[-1] == 0
    assert curve.times == sorted(curve.times)
    assert curve.times[0] >= 0
    assert curve.times[-1] < 5


def test_buffers_inside_kernels_are_seen():
    x, weight = torch.randn(1, 16, 32, 32), torch.randn(16, 16, 3, 3)
    curve = curve_of(lambda: torch.conv2d(x, weight, padding=1))
    assert curve.peak >= 16 * 32 * 32 * 4


def test_a_long_curve_keeps_its_peak():
    def work() -> None:
        for size in [10] * 3000 + [12345] + [10] * 3000:
            torch.empty(size, dtype=torch.uint8)

    curve = curve_of(work)
    assert len(curve.times) <= MAX_POINTS + 1
    assert max(curve.bytes) == curve.peak == 12345


def test_nothing_allocated():
    curve = curve_of(lambda: None)
    assert curve.peak == 0
    assert memory_table([curve, MemoryCurve(0)]).columns.tolist() == ["rank", "time", "bytes"]
    assert peak_table([curve, MemoryCurve(0)]).to_dict() == {3: 0}


def test_an_exception_ends_the_measurement():
    with pytest.raises(ZeroDivisionError), measured(MemoryCurve(0), CPU, origin=clock()):
        raise ZeroDivisionError
    assert curve_of(lambda: torch.empty(MEGA)).peak == 4 * MEGA


@pytest.mark.parametrize(
    ("name", "blend", "deal"),
    [
        ("wan21", tk.Blend.linear(), tk.Assignment.contiguous),
        ("wan22", tk.Blend.diffusers(), tk.Assignment.balanced),
    ],
)
def test_ranks_hold_what_the_plan_says(cluster, name, blend, deal):
    """The root: output, edges that wait, one tile at work or receives in flight. Never tiles times ranks."""
    vae = tiny.MODELS[name]()
    size = {"wan21": 50, "wan22": 25}[name]
    latent = tiny.latent(name, size, size)
    grid = tk.diffusers_grid(vae, latent.shape)
    tile = grid.tiles[0]
    single = tiny.latent(name, *(len(span) for span in tile.box))
    one_tile = cluster.decode(vae, single, progress=False).peaks[0]
    for ranks in (1, 2, 3):
        plan = tk.TilePlan(grid, blend, deal(grid, ranks))
        run = cluster.decode(vae, latent, plan, progress=False)
        cell = run.output.nbytes // prod(latent.shape[-2:])
        # Every event is small beside a tile's working memory, but for the copies of shares that a blend makes.
        predicted = plan.peaks(cell_bytes=cell, working_bytes=one_tile // tile.cells)
        whole = run.output.nbytes
        for rank in range(ranks):
            assert run.peaks[rank] <= predicted[rank] * 1.02, (ranks, rank)
        raw = sum(t.cells for t in grid.tiles) * cell
        assert run.peaks[0] < whole + one_tile + raw / 2
        assert ranks == 1 or run.peaks[1] < one_tile + 1.25 * whole / ranks + raw / 4
