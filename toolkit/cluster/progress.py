"""Progress of a run: one bar while it goes on, one line of text that stays."""

from __future__ import annotations

from typing import Any

from tqdm.auto import tqdm

from toolkit.geometry.schedule_table import Action
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.stage_plan import StagePlan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.runs.trace import Event


class Progress:
    """Counts the tiles of each rank, or its shard.

    A bar saved with a notebook stays at 0 % for ever; the line that :meth:`close` prints does not.

    Args:
        plan: the plan; None for the model's own call, which has no parts to count.
        show: whether to show anything.
    """

    def __init__(self, plan: TilePlan | ShardPlan | None, show: bool) -> None:
        self.totals = plan.units if plan else (1,)
        self.done = dict.fromkeys(range(len(self.totals)), 0)
        self._show = show
        self._bar: Any = tqdm(total=sum(self.totals), unit="part", leave=False, disable=not show, delay=0.5)

    def update(self, event: Event) -> None:
        """Take note of a finished event."""
        if event.kind in ("decode", "whole") or (event.kind, event.label) == ("shard", "end"):
            self.done[event.rank] += 1
            counts = " ".join(f"r{rank} {self.done[rank]}/{total}" for rank, total in self._shown())
            self._bar.set_postfix_str(counts, refresh=False)
            self._bar.update()

    def close(self, outcome: str) -> None:
        """End the bar and print how the run ended."""
        self._bar.close()
        if self._show:
            counts = ", ".join(f"rank {rank} {self.done[rank]} of {total}" for rank, total in self._shown())
            print(f"{outcome}: {counts}")

    def _shown(self) -> list[tuple[int, int]]:
        """The first ranks that have tiles, with their totals."""
        return [(rank, total) for rank, total in enumerate(self.totals) if total][:8]


class Steps:
    """Counts the steps of a pipeline's loops, as the first stage computes them.

    Args:
        plan: the stages.
        requests: how many calls are in flight.
        steps: of each, where the caller says it; None: not known.
        show: whether to show anything.
    """

    def __init__(self, plan: StagePlan | None, requests: int, steps: int | None, show: bool) -> None:
        self.totals = (requests * (steps or 0),)
        self.done = {0: 0}
        self._plan = plan
        self._branches = plan.branches if plan else 1
        self._seen: set[tuple[int, str]] = set()
        self._show = show
        self._bar: Any = tqdm(total=self.totals[0] or None, unit="step", leave=False, disable=not show, delay=0.5)

    def update(self, event: Event) -> None:
        """Take note of a finished event."""
        action, _, step = event.label.partition(" ")
        if event.kind == "stage" and action.startswith("0F"):
            found = Action.parse(action).branch // self._branches, step
            if found not in self._seen:
                self._seen.add(found)
                self.done[0] += 1
                self._bar.update()

    def close(self, outcome: str) -> None:
        """End the bar and print how the run ended."""
        self._bar.close()
        if self._show:
            # Of the pipeline's own call nothing is seen until its end.
            print(f"{outcome}: {self.done[0]} steps" if self._plan else outcome)
