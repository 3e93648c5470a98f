"""The agenda: when pending calls run, in which order, and what they are called."""

from __future__ import annotations

import pytest
from support.engines import ListedEngine, alone

from toolkit.distributed.stages.agenda import Agenda
from toolkit.errors import ModelError


def test_nothing_runs_before_the_first_look_and_then_everything_does():
    log: list[str] = []
    agenda, engine = Agenda(alone()), ListedEngine(log)
    calls = [agenda.begin(engine, (value,), {}) for value in (10, 20)]
    assert log == []
    agenda.settle(calls[1])
    assert log == ["0F0 step 0", "0F1 step 0", "F0 step 0", "F1 step 0"]
    assert [int(call.result) for call in calls] == [11, 21]
    agenda.settle(calls[0])
    assert len(log) == 4


def test_lap_by_lap_then_call_by_call_and_results_last():
    log: list[str] = []
    agenda, engine = Agenda(alone()), ListedEngine(log, laps=2)
    first = agenda.begin(engine, (1,), {})
    agenda.begin(engine, (2,), {})
    agenda.settle(first)
    assert log == ["0F0 step 0", "0F1 step 0", "1F0 step 0", "1F1 step 0", "F0 step 0", "F1 step 0"]


def test_transformers_with_different_numbers_of_chunks_share_an_agenda():
    log: list[str] = []
    agenda = Agenda(alone())
    long, short = ListedEngine(log, laps=3, name="a"), ListedEngine(log, laps=1, name="b")
    agenda.begin(long, (1,), {})
    agenda.begin(short, (2,), {})
    agenda.close()
    assert [line for line in log if "b" in line] == ["b0F1 step 0", "bF1 step 0"]
    assert log.index("b0F1 step 0") == 1
    assert log[2:4] == ["a1F0 step 0", "a2F0 step 0"]


def test_calls_are_numbered_by_steps_and_branches():
    agenda, engine = Agenda(alone()), ListedEngine([])
    names = []
    # A pipeline that leaves out the second branch in its second step.
    for branches in (2, 1, 2):
        calls = [agenda.begin(engine, (0,), {}) for _ in range(branches)]
        agenda.settle(calls[0])
        names += [(call.step, call.branch) for call in calls]
    assert names == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]


def test_without_overlap_the_index_alone_numbers_calls():
    agenda, engine = Agenda(alone()), ListedEngine([], overlap=False)
    names = []
    for _ in range(4):
        call = agenda.begin(engine, (0,), {})
        agenda.settle(call)
        names.append((call.step, call.branch))
    assert names == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_close_runs_what_nobody_has_looked_at_once():
    log: list[str] = []
    agenda, engine = Agenda(alone()), ListedEngine(log)
    agenda.close()
    assert log == []
    call = agenda.begin(engine, (1,), {})
    agenda.close()
    agenda.close()
    assert call.done
    assert log == ["0F0 step 0", "F0 step 0"]


def test_no_call_after_the_other_ranks_have_left():
    agenda, engine = Agenda(alone()), ListedEngine([])
    before = agenda.begin(engine, (1,), {})
    agenda.leave()
    with pytest.raises(ModelError, match="calls its transformer again after vae"):
        agenda.begin(engine, (2,), {})
    agenda.settle(before)
    assert before.done


def test_a_result_that_is_an_argument_of_the_next_call_is_computed_first():
    from_first: list[str] = []
    agenda, engine = Agenda(alone()), ListedEngine(from_first)
    first = agenda.begin(engine, (1,), {})
    agenda.settle(first)
    second = agenda.begin(engine, (first.result,), {})
    agenda.close()
    assert int(second.result) == 3
