"""A rehearsal: what a run would have been like, with the same tables and no output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.plan import Plan, or_none
from toolkit.geometry.topology import Topology
from toolkit.planning.rehearsing.performance import RankTimes, play
from toolkit.planning.rehearsing.profile import OperatorCost, Profile
from toolkit.planning.rehearsing.script import Compute, Script, operators_of
from toolkit.runs.memory import MemoryCurve, thinned
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.run_tables import memory_table, peak_table, trace_table
from toolkit.runs.trace import Event, Kind


@dataclass(frozen=True, repr=False, eq=False)
class Rehearsal(Run):
    """A predicted run: trace, memory, peaks and seconds as of a :class:`toolkit.Run`, and no output.

    Figures, reports and comparisons take it in place of a run. ``seconds`` is the time until the last rank has ended;
    what a cluster's kernel does before and after that is not in it.

    Attributes:
        scripts: What each rank does, without times.
        profile: Where times and kernels' own memory come from; None: no profile was given.
        topology: The links between ranks.
        estimated: The part of the computing time that was estimated from other shapes, between 0 and 1.
    """

    scripts: Sequence[Script] = ()
    profile: Profile | None = None
    topology: Topology = field(default_factory=Topology)
    estimated: float = 0.0

    @property
    def output(self) -> Any:
        """None exists.

        Raises:
            ToolkitError: Always.
        """
        raise ToolkitError(f"{self!r} has no output: nothing was computed. Run the plan on a cluster.")

    @property
    def messages(self) -> pd.DataFrame:
        """One row per pair of ranks: sender, receiver, number of messages, bytes."""
        sends = self.trace[self.trace["kind"] == Kind.SEND.value]
        pairs = sends.groupby(["rank", "peer"])["bytes"].agg(["size", "sum"]).reset_index()
        return pairs.set_axis(["sender", "receiver", "messages", "bytes"], axis=1)

    @property
    def missing(self) -> dict[str, Any]:
        """The operators that the profile has not measured in these shapes, by text; give them to ``tk.profile``."""
        known = self.profile
        return {key: one for key, one in operators_of(self.scripts).items() if known is None or not known.knows(key)}

    def with_profile(self, profile: Profile, topology: Topology | None = None) -> Rehearsal:
        """The same rehearsal with another profile, or over other links: no model is needed, and it takes no time."""
        return rehearsal_of(
            self.scripts,
            plan=self.way,
            record=self.record,
            ratio=self.ratio,
            streamed=self.streamed,
            profile=profile,
            topology=topology or self.topology,
        )

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        peak = f", peak {self.peaks.max() / 1e6:.0f} MB" if len(self.peaks) else ""
        if self.profile is None:
            return (
                f"Rehearsal({shape} by {self.way.summary}{peak} without kernels' own memory; no profile, so no times)"
            )
        guess = f", {self.estimated:.0%} of the time estimated from other shapes" if self.estimated else ""
        guess = ", times and memory from two assumed figures" if self.profile.assumed else guess
        return f"Rehearsal({shape} by {self.way.summary} in {self.seconds:.3g} s{peak}{guess})"


def rehearsal_of(
    scripts: Sequence[Script],
    *,
    plan: Plan,
    record: Record,
    ratio: Mapping[str, int],
    profile: Profile | None,
    topology: Topology,
    streamed: tuple[int, ...] = (),
) -> Rehearsal:
    """Play scripts with a profile over links, and make the tables of a run of it.

    Args:
        scripts: One for each rank that takes part.
        plan: The plan.
        record: Where the scripts come from.
        ratio: Sample cells per latent cell along each axis of the plan's grid.
        profile: What operators cost; None: no time, and no memory beside tensors.
        topology: The links.
        streamed: The shape of the output.
    """
    costs = _costs(scripts, profile)
    host = 0.0 if profile is None else profile.host.ruled_call if plan.kind == "shards" else profile.host.call
    post = 0.0 if profile is None else profile.host.post
    times = play(
        scripts, lambda step: costs[step.key, step.made].seconds + host * step.calls, post=post, topology=topology
    )
    curves = [_curve(script, when, costs) for script, when in zip(scripts, times, strict=True)]
    return Rehearsal(
        kept=None,
        trace=trace_table(
            [event for script, when in zip(scripts, times, strict=True) for event in _events(script, when)]
        ),
        memory=memory_table(curves),
        peaks=peak_table(curves),
        record=record,
        plan=or_none(plan),
        seconds=max(when.end for when in times) if profile is not None else float("nan"),
        ratio=ratio,
        streamed=streamed or next((script.result for script in scripts if script.result), ()),
        scripts=tuple(scripts),
        profile=profile,
        topology=topology,
        estimated=_estimated(scripts, profile, costs),
    )


_Costs = Mapping[tuple[str, int], OperatorCost]
"""The cost of an operator by its text and the bytes that it makes."""


def _costs(scripts: Sequence[Script], profile: Profile | None) -> _Costs:
    operators = operators_of(scripts)
    met = {(step.key, step.made) for script in scripts for step in script.steps if isinstance(step, Compute)}
    if profile is None:
        return {(key, made): OperatorCost(0.0, made) for key, made in met}
    return {(key, made): profile.cost(key, operators[key], made) for key, made in met}


def _curve(script: Script, when: RankTimes, costs: _Costs) -> MemoryCurve:
    """The memory of a rank over time: what its tensors need, and kernels while they run."""
    points = [(done, 0, size) for done, size in script.allocated]
    for place, step in enumerate(script.steps):
        if isinstance(step, Compute):
            points.append((place, 1, step.live + costs[step.key, step.made].bytes))
    points.sort(key=lambda point: point[:2])
    times, sizes = [when.at(done) for done, _, _ in points], [size for *_, size in points]
    kept = thinned(sizes)
    return MemoryCurve(script.rank, [times[at] for at in kept], [sizes[at] for at in kept], max(sizes, default=0))


def _events(script: Script, when: RankTimes) -> list[Event]:
    """The events of a rank, in seconds; waits for what has arrived already are none."""
    placed = [replace(event, start=when.at(event.start), end=when.at(event.end)) for event in script.events]
    return [event for event in placed if event.kind is not Kind.WAIT or event.end > event.start]


def _estimated(scripts: Sequence[Script], profile: Profile | None, costs: _Costs) -> float:
    if profile is None or profile.assumed is not None:
        return 0.0
    steps = [step for script in scripts for step in script.steps if isinstance(step, Compute)]
    total = sum(costs[step.key, step.made].seconds for step in steps)
    guessed = sum(costs[step.key, step.made].seconds for step in steps if not profile.knows(step.key))
    return guessed / total if total else 0.0
