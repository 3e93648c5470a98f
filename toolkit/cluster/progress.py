"""The progress of a run: a bar while it runs, and one line of text that stays."""

from __future__ import annotations

from typing import Any

from tqdm.auto import tqdm

from toolkit.geometry.plan import Plan
from toolkit.geometry.stage_plan import StagePlan
from toolkit.runs.trace import NONE, Event, Kind

LARGE = 1 << 24
"""Bytes of a message of which it is worth saying that it is on its way."""


class Bar:
    """A bar that also says what is done before there is progress, and what is on its way to other hosts.

    Args:
        bar: The bar.
        show: Whether to show anything.
    """

    def __init__(self, bar: Any, show: bool) -> None:
        self._bar, self._show, self._most = bar, show, 0

    def doing(self, what: str) -> None:
        """Show what is done before the ranks compute; once they do (``""``), the bar's clock begins."""
        if not self._show:
            return
        if what:
            self._bar.set_description(what)
        elif self._bar.desc:
            self._bar.set_description("", refresh=False)
            self._bar.reset()

    def sending(self, left: int) -> None:
        """Show how much of the largest message of a model or an input is left to send."""
        self._most = max(self._most, left)
        if self._show and self._most >= LARGE:
            self._bar.set_postfix_str(f"{(self._most - left) / 1e6:.0f} of {self._most / 1e6:.0f} MB sent to each host")


class Progress(Bar):
    """Counts the parts (tiles, shards) that each rank has finished.

    A bar that is saved with a notebook stays at 0 % forever; the line that :meth:`close` prints does not.

    Args:
        plan: The plan whose parts are counted.
        show: Whether to show anything.
    """

    def __init__(self, plan: Plan, show: bool) -> None:
        self.totals, self.noun = plan.units, plan.part_noun
        self.done = dict.fromkeys(range(len(self.totals)), 0)
        bar: Any = tqdm(total=sum(self.totals), unit="part", leave=False, disable=not show, delay=0.5)
        super().__init__(bar, show)

    def update(self, event: Event) -> None:
        """Count a finished event."""
        # Only the last event of a shard carries the shard's index.
        shard_done = event.kind is Kind.SHARD and event.label.tile != NONE
        if event.kind in (Kind.DECODE, Kind.WHOLE) or shard_done:
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
        """The first ranks that have parts, with their totals."""
        return [(rank, total) for rank, total in enumerate(self.totals) if total][:8]


class Steps(Bar):
    """Counts the steps of a pipeline's loops, as the first stage computes them.

    Args:
        plan: The stages; None for the pipeline's own call.
        requests: Number of calls in flight.
        steps: Steps per call, if the caller gave their number; None: not known.
        show: Whether to show anything.
    """

    def __init__(self, plan: StagePlan | None, requests: int, steps: int | None, show: bool) -> None:
        self.totals, self.noun = (requests * (steps or 0),), "steps"
        self.done = {0: 0}
        self._plan = plan
        self._branches = plan.branches if plan else 1
        self._seen: set[tuple[int, int, str]] = set()
        bar: Any = tqdm(total=self.totals[0] or None, unit="step", leave=False, disable=not show, delay=0.5)
        super().__init__(bar, show)

    def update(self, event: Event) -> None:
        """Count a finished event."""
        label = event.label
        if event.kind is Kind.STAGE and label.chunk == 0:
            found = label.branch // self._branches, label.step, label.expert
            if found not in self._seen:
                self._seen.add(found)
                self.done[0] += 1
                self._bar.update()

    def close(self, outcome: str) -> None:
        """End the bar and print how the run ended."""
        self._bar.close()
        if self._show:
            # The pipeline's own call reports nothing until it ends.
            print(f"{outcome}: {self.done[0]} steps" if self._plan else outcome)
