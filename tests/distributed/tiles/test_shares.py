"""Shares and edges: in which order they are complete, who sends what when, and that no assignment can deadlock."""

from __future__ import annotations

import itertools
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from support.wires import Wires, on_threads

import toolkit as tk
from toolkit.distributed.tiles.shares import EdgeExchange, Shares, blend_shares, compute_shares
from toolkit.distributed.tiles.streaming import stream_shares
from toolkit.geometry.edges import all_edges
from toolkit.numerics.boxes import BoxLayout
from toolkit.numerics.window import merge
from toolkit.runs.trace import Recorder

ROW = tk.TileGrid.cover({"w": 14}, tile=5, overlap=2)  # four tiles: 0:5, 3:8, 6:11, 9:14
LATTICE = tk.TileGrid.cover({"h": 7, "w": 7}, tile=4, overlap=1)


class Coder:
    """A model that adds a number of its own to every tile, so that overlaps differ."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, grid: tk.TileGrid) -> None:
        self.grid, self.boxes = grid, BoxLayout(grid.axes, (1,) * len(grid.axes))
        self.sample = torch.randn(
            1, 2, *(row[-1].stop for row in grid.rows), generator=torch.Generator().manual_seed(0)
        )

    def __call__(self, x, tile):
        return self.boxes.cut(x, tile.box) + tile.index

    def canvas(self, box=None):
        whole = tuple(type(row[0])(0, row[-1].stop) for row in self.grid.rows)
        return torch.full(self.raw_shape(box or whole), torch.nan)

    def raw_view(self, canvas):
        return canvas

    def raw_shape(self, box):
        return self.boxes.shape(self.sample.shape, box)

    def spans(self, box):
        return box

    def finish(self, canvas):
        pass

    def raws(self):
        return [self(self.sample, tile) for tile in self.grid.tiles]

    def merged(self):
        return merge(self.raws(), self.grid)


def plan_of(grid: tk.TileGrid, owners, root: int = 0) -> tk.TilePlan:
    assignment = tk.Assignment(tuple(owners), 1 + max(*owners, root))
    return tk.TilePlan(grid, tk.Blend.linear(), assignment, root)


def edges_into(grid: tk.TileGrid, target: int):
    return [edge for edge in all_edges(grid) if edge.target == target]


def test_a_share_is_ready_when_its_tile_and_all_edges_are_there_in_any_order():
    coder = Coder(LATTICE)
    raws = coder.raws()
    (corner, above, left) = edges_into(LATTICE, 3)
    assert [edge.source for edge in (corner, above, left)] == [0, 1, 2]
    for order in itertools.permutations(["tile", corner, above, left]):
        shares = Shares(coder, plan_of(LATTICE, [0] * 4), me=0, view=None)
        for step in order:
            assert not shares.ready(3)
            assert not shares.final(3)
            if step == "tile":
                shares.keep(LATTICE.tiles[3], raws[3])
            else:
                source = LATTICE.tiles[step.source]
                shares.add_edge(step, coder.boxes.cut(raws[step.source], step.box, source.box).clone())
        assert shares.ready(3)
        assert not shares.final(3)
        shares.blend(3)
        assert shares.final(3)
        assert not shares.ready(3)
        assert torch.equal(shares.held[3], coder.boxes.cut(coder.merged(), LATTICE.tiles[3].share_box))


def test_a_tile_without_edges_is_final_at_once_and_never_ready():
    coder = Coder(ROW)
    shares = Shares(coder, plan_of(ROW, [0] * 4), me=0, view=None)
    assert not shares.final(0)
    shares.keep(ROW.tiles[0], coder.raws()[0])
    assert shares.final(0)
    assert not shares.ready(0)


def test_a_kept_share_does_not_keep_the_raw_tile_and_the_roots_is_in_the_output():
    coder, tile = Coder(ROW), ROW.tiles[1]
    raw = coder.raws()[1]
    away, root = (Shares(coder, plan_of(ROW, [0] * 4), me=0, view=view) for view in (None, coder.canvas()))
    for shares in (away, root):
        shares.keep(tile, raw)
        assert torch.equal(shares.held[1], coder.boxes.cut(raw, tile.share_box, tile.box))
    assert away.held[1].untyped_storage().nbytes() == away.held[1].nbytes < raw.nbytes
    assert root.held[1].untyped_storage().data_ptr() == root.view.untyped_storage().data_ptr()


def test_edges_that_came_before_the_tile_are_blended_when_it_is_computed():
    coder = Coder(ROW)
    raws, trace = coder.raws(), Recorder(0)
    shares = Shares(coder, plan_of(ROW, [0] * 4), me=0, view=None)
    (edge,) = edges_into(ROW, 1)
    blend_shares(shares, [(edge, coder.boxes.cut(raws[0], edge.box, ROW.tiles[0].box).clone())], trace=trace)
    assert not trace.events
    shares.keep(ROW.tiles[1], raws[1])
    blend_shares(shares, [], trace=trace, computed=1)
    assert shares.final(1)
    assert [str(event.label) for event in trace.events] == ["tile 1"]


def exchanges_of(owners, grid=ROW):
    coder, plan, wires = Coder(grid), plan_of(grid, owners), Wires()
    ends = wires.exchanges(plan.ranks)
    return coder, ends, [EdgeExchange(coder, plan, end) for end in ends]


def compute(coder: Coder, edges: EdgeExchange, index: int) -> None:
    """What a rank does after tile ``index``: hand its edges on, and start what may start."""
    raw = coder.raws()[index]
    for edge in all_edges(coder.grid):
        if edge.source == index:
            edges.hand_on(edge, coder.boxes.cut(raw, edge.box, coder.grid.tiles[index].box))
    edges.post(computed=index)


def test_both_ends_work_off_one_queue_in_the_same_order():
    coder, (wire, other_wire), (mine, theirs) = exchanges_of([0, 1, 0, 1])
    for rank, index in ((mine, 0), (theirs, 1), (mine, 2), (theirs, 3)):
        compute(coder, rank, index)
    names = ["edge 0, to tile 1", "edge 1, to tile 2", "edge 2, to tile 3"]
    assert wire.log == [("send", 1, names[0]), ("receive", 1, names[1]), ("send", 1, names[2])]
    assert other_wire.log == [("receive", 0, names[0]), ("send", 0, names[1]), ("receive", 0, names[2])]
    for rank, targets in ((mine, [2]), (theirs, [1, 3])):
        assert [edge.target for edge, _ in rank.remaining()] == targets


def test_nothing_overtakes_an_edge_that_is_not_computed_yet():
    """Tiles 1 and 2 on rank 1, but in the queue the edge into tile 1 comes first."""
    coder, (_, wire), (_, theirs) = exchanges_of([0, 1, 1, 0])
    # Tile 2 is done, so its edge to tile 3 could leave; but both ends expect the edge into tile 1 before it.
    raw = coder.raws()[2]
    (edge,) = edges_into(ROW, 3)
    theirs.hand_on(edge, coder.boxes.cut(raw, edge.box, ROW.tiles[2].box))
    theirs.post(computed=0)
    assert wire.log == []
    theirs.post(computed=1)
    assert wire.log == [("receive", 0, "edge 0, to tile 1"), ("send", 0, "edge 2, to tile 3")]


def test_an_edge_between_tiles_of_one_rank_is_not_sent():
    coder, (wire,), (mine,) = exchanges_of([0, 0, 0, 0])
    compute(coder, mine, 0)
    ((edge, piece),) = mine.arrived()
    assert (edge.source, edge.target, wire.log) == (0, 1, [])
    assert torch.equal(piece, coder.boxes.cut(coder.raws()[0], edge.box, ROW.tiles[0].box))
    assert list(mine.arrived()) == []


def test_arrived_does_not_wait():
    coder, _, (mine, theirs) = exchanges_of([0, 1, 1, 1])
    theirs.post(computed=1)
    assert list(theirs.arrived()) == []
    compute(coder, mine, 0)
    assert [edge.target for edge, _ in theirs.arrived()] == [1]


def run_on(grid: tk.TileGrid, owners, root: int, function, **more):
    coder, plan, wires = Coder(grid), plan_of(grid, owners, root), Wires()
    working = plan.working
    calls = [
        partial(function, coder, coder.sample, plan=plan, exchange=wires.exchanges(plan.ranks)[rank],
                trace=Recorder(rank), **more)
        for rank in working
    ]  # fmt: skip
    return coder, dict(zip(working, on_threads(calls), strict=True))


GRIDS = {"row": ROW, "lattice": LATTICE}


@pytest.mark.parametrize(("name", "ranks"), [("row", 2), ("row", 3), ("lattice", 2), ("lattice", 4)])
def test_no_assignment_deadlocks_or_changes_a_bit(name, ranks):
    grid = GRIDS[name]
    for number, owners in enumerate(itertools.product(range(ranks), repeat=len(grid))):
        root = number % ranks
        coder, outputs = run_on(grid, owners, root, compute_shares)
        output = outputs.pop(root)
        assert torch.equal(output, coder.merged()), owners
        assert not any(part is not None for part in outputs.values())


@pytest.mark.parametrize("name", GRIDS)
def test_streamed_bands_are_the_merged_output_for_every_assignment(name):
    grid = GRIDS[name]
    dim = -len(grid.axes)
    for number, owners in enumerate(itertools.product(range(3), repeat=len(grid))):
        given: list[tuple[int, torch.Tensor]] = []
        stream = partial(lambda found, band, at: found.append((at, band)), given)
        coder, _ = run_on(grid, owners, number % 3, stream_shares, stream=stream)
        assert [at for at, _ in given] == sorted(at for at, _ in given)
        assert torch.equal(torch.cat([band for _, band in given], dim), coder.merged()), owners


def test_a_receiver_that_expects_another_order_would_be_noticed():
    """The fake wires can fail: a message of another shape than expected is an error."""
    wires = Wires()
    first, second = wires.exchanges(2)
    first.send(torch.ones(3), 1, SimpleNamespace())
    with pytest.raises(AssertionError, match="expects another message"):
        second.take(second.receive((4,), torch.float32, 0, ""))
