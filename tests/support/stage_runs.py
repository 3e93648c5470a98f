"""Runs in stages as a schedule would have them: traces whose every number is known."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from toolkit.geometry import StagePlan
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.trace import Event, frame

NOTHING = Record("", {}, {}, "", {}, 0, {}, {}, {})


def scheduled_run(
    plan: StagePlan, costs: Sequence[float], steps: int, hop: float = 0.0, begin: float = 1.0, expert: str = ""
) -> Run:
    """A run that did exactly what the plan's schedule says, its loop ``begin`` seconds after its own begin."""
    events = scheduled_events(plan, costs, steps, hop, begin, expert)
    events.append(Event(0, "whole", "text_encoder", 0.25, 0.5))
    end = max(event.end for event in events)
    events.append(Event(0, "whole", "vae.decode", end, end + 2.0))
    return run_of(plan, events, end + 2.5)


def run_of(plan: StagePlan | None, events: Sequence[Event], seconds: float) -> Run:
    empty = pd.DataFrame(columns=["rank", "time", "bytes"])
    return Run([0], frame(events), empty, pd.Series(dtype=float), NOTHING, plan, seconds)


def scheduled_events(
    plan: StagePlan, costs: Sequence[float], steps: int, hop: float = 0.0, begin: float = 1.0, expert: str = ""
) -> list[Event]:
    schedule, events = plan.schedule, list[Event]()
    free = dict.fromkeys(range(schedule.ranks), begin)
    name, last = f" {expert}" if expert else "", schedule.depth - 1
    alone = schedule.ranks == 1
    for planned in schedule.timeline(costs, hop, steps):
        action, rank, start, stop = planned.action, planned.rank, begin + planned.start, begin + planned.stop
        label = f"F{action.branch} step {planned.step}{name}"
        if action.chunk and not alone:
            before = f"{action.chunk - 1}{label}"
            events.append(Event(rank, "wait", before, free[rank], start))
            events.append(Event(rank, "receive", before, start, start, 8))
        events.append(Event(rank, "stage", f"{action.chunk}{label}", start, stop))
        free[rank] = stop
        if action.chunk == last and not alone:
            events.append(Event(rank, "send", label, stop, stop, 8))
            events.append(Event(0, "wait", label, free[0], max(stop + hop, free[0])))
            free[0] = max(stop + hop, free[0])
            events.append(Event(0, "receive", label, free[0], free[0], 8))
    return events
