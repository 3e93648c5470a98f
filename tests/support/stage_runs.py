"""Runs in stages as a schedule would have them: traces whose every number is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from toolkit.geometry import StagePlan
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.run_tables import trace_table
from toolkit.runs.trace import Event, Kind, Label

NOTHING = Record("", {}, {}, "", {}, 0, {}, {}, {})


def scheduled_run(
    plan: StagePlan, costs: Sequence[float], steps: int, hop: float = 0.0, begin: float = 1.0, expert: str = ""
) -> Run:
    """A run that did exactly what the plan's schedule says, its loop ``begin`` seconds after its own begin."""
    events = scheduled_events(plan, costs, steps, hop, begin, expert)
    events.append(Event(0, Kind.WHOLE, Label(text="text_encoder"), 0.25, 0.5))
    end = max(event.end for event in events)
    events.append(Event(0, Kind.WHOLE, Label(text="vae.decode"), end, end + 2.0))
    return run_of(plan, events, end + 2.5)


def run_of(plan: StagePlan | None, events: Sequence[Event], seconds: float) -> Run:
    empty = pd.DataFrame(columns=["rank", "time", "bytes"])
    return Run([0], trace_table(events), empty, pd.Series(dtype=float), NOTHING, plan, seconds)


def scheduled_events(
    plan: StagePlan, costs: Sequence[float], steps: int, hop: float = 0.0, begin: float = 1.0, expert: str = ""
) -> list[Event]:
    schedule, events = plan.schedule, list[Event]()
    free = dict.fromkeys(range(schedule.ranks), begin)
    last, alone = schedule.depth - 1, schedule.ranks == 1
    for planned in schedule.timeline(costs, hop, steps):
        action, rank, start, stop = planned.action, planned.rank, begin + planned.start, begin + planned.stop
        result = Label(branch=action.branch, step=planned.step, expert=expert)
        if action.chunk and not alone:
            before = replace(result, chunk=action.chunk - 1)
            events.append(Event(rank, Kind.WAIT, before, free[rank], start))
            events.append(Event(rank, Kind.RECEIVE, before, start, start, 8))
        events.append(Event(rank, Kind.STAGE, replace(result, chunk=action.chunk), start, stop))
        free[rank] = stop
        if action.chunk == last and not alone:
            events.append(Event(rank, Kind.SEND, result, stop, stop, 8))
            events.append(Event(0, Kind.WAIT, result, free[0], max(stop + hop, free[0])))
            free[0] = max(stop + hop, free[0])
            events.append(Event(0, Kind.RECEIVE, result, free[0], free[0], 8))
    return events
