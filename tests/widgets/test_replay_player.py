"""The replay's player: one selection that every view follows, and a still at the worst moment."""

from __future__ import annotations

import re
import time as clock
from xml.etree import ElementTree

import pytest
import torch
from support.replayed import GRID, HALO, TILE_EVENTS, TILES, many_tiles, rehearsed, run_of, shard_run, tile_run

import toolkit as tk
from toolkit.analysis.part_states import State
from toolkit.errors import PlanError, ToolkitError
from toolkit.plot.state_looks import COLOURS, SIGNS
from toolkit.plot.theme import PINK
from toolkit.runs.trace import Event, Kind, Label
from toolkit.widgets.ipywidgets_compat import WIDGET_MIME
from toolkit.widgets.replay_selection import NOTHING, Selection, event_selected, events_of, part_selected, seam_selected


def parsed(page: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", page))


def drawings(page: str) -> list[ElementTree.Element]:
    return list(parsed(page).iter("svg"))


def signs(page: str) -> list[str]:
    """The texts on the map's cells, sorted by place."""
    cells = [text for text in drawings(page)[0].iter("text") if re.match(r"^\d+ .$", text.text or "")]
    return [text.text for text in sorted(cells, key=lambda text: float(text.get("x")))]


def row(run, kind: str, tile: int) -> int:
    found = run.trace[(run.trace["kind"] == kind) & (run.trace["tile"] == tile)]
    return int(found.index[0])


def test_it_starts_at_the_worst_moment_and_a_saved_notebook_keeps_that():
    player = tk.widgets.replay(tile_run())
    assert player.time == 2.0
    bundle = player._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", WIDGET_MIME}
    assert signs(bundle["text/html"]) == [
        f"0 {SIGNS[State.TRAVELLING]}",
        f"1 {SIGNS[State.HELD]}",
        f"0 {SIGNS[State.COMPUTING]}",
    ]
    assert bundle["text/plain"] == ("Replay(3 tiles on 2 ranks at 2 s of 4 s: 1 computing, 1 held, 1 travelling)")
    assert all(one.get("aria-label") for one in drawings(player.html))


def test_the_slider_moves_time_and_every_view():
    player = tk.widgets.replay(tile_run())
    before = player.html
    player.moment = 0
    assert (player.time, list(player.now.states)) == (0.0, [State.COMPUTING, State.WAITING, State.WAITING])
    assert player.html != before
    assert "rank" in player.html
    player.moment = len(player.times) - 1
    assert player.time == 4.0
    assert "3 done" in player.html


def test_time_can_lie_between_two_stops():
    player = tk.widgets.replay(tile_run())
    player.time = 2.4999
    assert player.now.time == player.time == 2.4999
    assert abs(player.times[player.moment] - 2.4999) < 0.02


def test_an_event_selects_its_tile_its_seams_and_its_messages():
    run = tile_run()
    player = tk.widgets.replay(run)
    player.select(row(run, "decode", 1))
    assert player.selection == Selection(row(run, "decode", 1), 1, 1, ((0, 1), (1, 2)), (1,))
    assert (player.time, player.part) == (0.5, 1)
    assert "selected: rank 1: decode tile 1, 1e+03 ms; tile 1 on rank 1; seams 0-1, 1-2; messages 1" in player.html
    paths = list(drawings(player.html)[0].iter("path"))
    assert sum(path.get("class") == "tk-box" for path in paths) == 1
    assert [path.get("d").count("M") for path in paths if path.get("stroke") == PINK] == [2]
    assert sum(path.get("class") == "tk-box" for path in drawings(player.html)[1].iter("path")) == 2


@pytest.mark.parametrize("kind", ["send", "wait", "receive"])
def test_an_edge_selects_its_one_seam_and_its_own_message(kind):
    run = tile_run()
    found = tk.widgets.replay(run)
    found.select(row(run, kind, 0))
    chosen = found.selection
    assert (chosen.part, chosen.seams, chosen.messages) == (0, ((0, 1),), (0,))
    assert chosen.rank == (0 if kind == "send" else 1)


def test_an_edge_does_not_select_the_tile_s_other_seams():
    edge = Label(tile=1, purpose="edge", text="to tile 2")
    more = [Event(1, Kind.SEND, edge, 1.5, 1.6, 50, 0), Event(0, Kind.RECEIVE, edge, 3.1, 3.2, 50, 1)]
    run = run_of(TILES, [*TILE_EVENTS, *more])
    player = tk.widgets.replay(run)
    for event in run.trace.index[run.trace["bytes"] == 50]:
        player.select(int(event))
        assert (player.part, player.selection.seams, len(player.selection.messages)) == (1, ((1, 2),), 1)


def test_an_event_of_a_shard_has_no_seams():
    run = shard_run()
    player = tk.widgets.replay(run)
    halo = run.trace.index[(run.trace["label"] == str(HALO)) & (run.trace["kind"] == "send")][0]
    player.select(int(halo))
    assert (player.selection.seams, len(player.selection.messages), player.selection.part) == ((), 1, 1)


def test_buttons_step_through_the_events_of_the_selected_tile():
    run = tile_run()
    player = tk.widgets.replay(run)
    player.moment = 0
    player.part = 1
    seen = []
    while player.next_event():
        seen.append(run.trace.loc[player.selection.event, "kind"] if player.selection.event >= 0 else "")
        assert player.part == 1
    assert seen == ["decode", "blend", "send", "receive"]
    assert player.time == 3.5
    back = 0
    while player.previous_event():
        back += 1
    assert back == 3


def test_buttons_step_through_one_rank_or_all():
    run = tile_run()
    player = tk.widgets.replay(run)
    for rank, count in (("any", len(run.trace)), ("1", (run.trace["rank"] == 1).sum())):
        player.moment, player.part, player.rank = 0, -1, rank
        chosen = events_of(player._subjects[0], NOTHING, None if rank == "any" else int(rank))
        assert len(chosen) == count
    buttons = player.widget.children[0].children[1:]
    assert [button.description for button in buttons] == ["Previous event", "Next event"]
    buttons[1].click()
    assert player.selection.rank == 1


def test_a_microscope_shares_the_selection():
    sample = torch.zeros(1, 3, 8, 96)
    off = sample.clone()
    off[..., 30:40] = 0.1  # the worst seam is that of the tiles 0 and 1, in the middle of 3:6, times 8
    scope = tk.widgets.microscope(tk.compare(off, sample, GRID, name="tiled", reference_name="untiled"))
    player = tk.widgets.replay(tile_run(), microscope=scope)
    worst = tuple(scope.seams["tiles"].iloc[0])
    other = next(tuple(tiles) for tiles in scope.seams["tiles"] if tuple(tiles) != worst)
    player.part = max(other) if max(other) not in worst else min(other)
    assert scope.controls["seam"].value == 1
    scope.go_to(0)
    assert player.selection.seams == (worst,)
    assert player.selection.part == min(worst)
    player.part = -1
    assert player.selection == NOTHING


def test_a_seam_has_the_messages_that_cross_it():
    replay = tk.widgets.replay(tile_run())._subjects[0]
    assert seam_selected(replay, (0, 1)).messages == (0,)
    assert seam_selected(replay, (1, 2)).messages == ()


def test_a_limit_is_drawn():
    plain, limited = (tk.widgets.replay(tile_run(), **given).html for given in ({}, {"limit": 10**7, "weights": 10**6}))
    assert "limit 10 MB" in limited
    assert "limit" not in plain


def test_many_tiles_are_drawn_in_a_frame_s_time_and_kept_small():
    player = tk.widgets.replay(many_tiles())
    assert len(player.html) < 120_000
    taken = []
    for moment in range(0, len(player.times), 12):
        begin = clock.perf_counter()
        player.moment = moment
        taken.append(clock.perf_counter() - begin)
    print(f"ms per frame: {1000 * sorted(taken)[len(taken) // 2]:.1f}")
    assert sorted(taken)[len(taken) // 2] < 0.5  # ten times what it takes: the machine is shared
    paths = list(drawings(player.html)[0].iter("path"))
    for state in (State.WAITING, State.COMPUTING, State.DONE):
        drawn = max(path.get("d").count("z") for path in paths if path.get("fill") == COLOURS[state])
        assert drawn == max(1, player.now.states.count(state))  # the legend has one of each


def test_ranks_without_a_row_are_counted():
    assert "; 32 of 50 ranks" in tk.widgets.replay(many_tiles(10, ranks=50)).html
    assert " ranks<" not in tk.widgets.replay(tile_run()).html


def test_a_prediction_is_drawn_below_in_step():
    rehearsal = rehearsed(2, 1, 16)
    player = tk.widgets.replay(rehearsal)
    assert len(drawings(player.html)) == 2
    record = rehearsal.record
    plain = type(record)(**{**{name: getattr(record, name) for name in record.__slots__}, "what": {"call": "decode"}})
    run = tk.Run(None, rehearsal.trace, rehearsal.memory, rehearsal.peaks, plain, rehearsal.plan, rehearsal.seconds)
    both = tk.widgets.replay(run, rehearsal)
    assert len(drawings(both.html)) == 4
    both.part = 1
    assert sum(path.get("class") == "tk-box" for path in drawings(both.html)[2].iter("path")) == 1


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda one: setattr(one, "time", -1), "time=-1: must be a number of seconds from 0 to 4"),
        (lambda one: setattr(one, "time", 4.1), "time=4.1"),
        (lambda one: setattr(one, "part", 3), "part=3"),
        (lambda one: setattr(one, "moment", True), "moment=True"),
        (lambda one: setattr(one, "rank", "2"), "rank='2'"),
        (lambda one: one.select(99), "event=99: must be a row of the trace, from 0 to 9"),
        (lambda one: one.select("0"), "event='0'"),
        (lambda one: part_selected(one._subjects[0], 5), "part=5: must be an int from 0 to 2, or -1"),
        (lambda one: event_selected(one._subjects[0], 1.0), "event=1.0"),
    ],
)
def test_odd_settings_are_refused(act, said):
    with pytest.raises(PlanError, match=re.escape(said)):
        act(tk.widgets.replay(tile_run()))


@pytest.mark.parametrize("odd", [5, None, [], TILES, torch.zeros(1)])
def test_what_is_no_run_is_refused(odd):
    with pytest.raises(ToolkitError):
        tk.widgets.replay(odd)
    with pytest.raises(ToolkitError):
        tk.widgets.replay(tile_run(), microscope=odd if odd is not None else 1)
