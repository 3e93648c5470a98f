"""A rehearsal: what a run would have been like, with the same tables and no output."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.plan import Plan, PlanKind, or_none
from toolkit.geometry.topology import Topology, names_of
from toolkit.planning.rehearsing.costs import Costs
from toolkit.planning.rehearsing.performance import Performance, RankTimes, play
from toolkit.planning.rehearsing.profile import Profile
from toolkit.planning.rehearsing.script import Collective, Compute, Post, Script, operators_of
from toolkit.runs.memory import MemoryCurve, thinned
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.run_tables import memory_table, peak_table, trace_table
from toolkit.runs.trace import Event, Kind


@dataclass(frozen=True, repr=False, eq=False)
class Rehearsal(Run):
    """A predicted run: trace, memory, peaks and seconds as of a :class:`toolkit.Run`, and no output.

    Figures, reports and comparisons take it in place of a run. ``seconds`` is the time until the last rank has ended;
    what a cluster's kernel does before and after that is not in it. The table ``trace`` is made when it is first asked
    for: of thousands of ranks it has millions of rows.

    Attributes:
        scripts: What each rank does, without times.
        profile: Where times and kernels' own memory come from; None: no profile was given.
        topology: The links between ranks.
        times: When each rank has done how many of its steps.
        estimated: The part of the computing time that was estimated from other shapes, between 0 and 1.
    """

    scripts: Sequence[Script] = ()
    profile: Profile | None = None
    topology: Topology = field(default_factory=Topology)
    times: Mapping[int, RankTimes] = field(default_factory=dict)
    estimated: float = 0.0

    def __post_init__(self) -> None:
        # The field is a run's. Without a value of its own, the property below answers.
        del self.__dict__["trace"]

    @cached_property  # type: ignore[misc]
    def trace(self) -> pd.DataFrame:
        """One row per event of any rank, as of a run."""
        return trace_table(event for script in self.scripts for event in _events(script, self.times[script.rank]))

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
        sent: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
        for script in self.scripts:
            for post in script.posts():
                for sends, peer, size in post.crossings:
                    if sends:
                        pair = sent[script.rank, peer]
                        pair[0] += 1
                        pair[1] += size
        rows = [(*pair, *counts) for pair, counts in sorted(sent.items())]
        return pd.DataFrame(rows, columns=["sender", "receiver", "messages", "bytes"])

    @property
    def hosts(self) -> list[str]:
        """The host of each rank, by rank, as the topology counts them; empty where there is one."""
        return names_of(self.topology) if self.topology.hosts > 1 else []

    @property
    def collectives(self) -> pd.DataFrame:
        """One row per rank and operation of ranks that share a stage: rank, operation, number of calls, bytes.

        Bytes are those of tensors: what is added up, gathered from all ranks, or divided among them. A run's trace, and
        so a rehearsal's, has the time that they take in the stages' computing.
        """
        taken: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
        for script in self.scripts:
            for step in script.steps:
                if isinstance(step, Collective):
                    calls = taken[script.rank, step.operation]
                    calls[0] += 1
                    calls[1] += step.bytes
        rows = [(*which, *counts) for which, counts in sorted(taken.items())]
        return pd.DataFrame(rows, columns=["rank", "operation", "calls", "bytes"])

    @property
    def missing(self) -> dict[str, Any]:
        """The operators that the profile has not measured in these shapes, by text; give them to ``tk.profile``."""
        known = self.profile
        return {key: one for key, one in operators_of(self.scripts).items() if known is None or not known.knows(key)}

    def with_profile(self, profile: Profile, topology: Topology | None = None) -> Rehearsal:
        """The same rehearsal with another profile; no model is needed.

        Links stay as they are unless others are given: the new profile's own link is not used.
        """
        return rehearsal_of(
            self.scripts,
            plan=self.way,
            record=self.record,
            ratio=self.ratio,
            plans=self.plans,
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
    profile: Profile | None,
    topology: Topology,
    ratio: Mapping[str, int] | None = None,
    streamed: tuple[int, ...] = (),
    plans: Mapping[str, Plan] | None = None,
) -> Rehearsal:
    """Play scripts with a profile over links, and make the tables of a run of it.

    Args:
        scripts: One for each rank that takes part.
        plan: The plan.
        record: Where the scripts come from.
        profile: What operators cost; None: no time, and no memory beside tensors.
        topology: The links.
        ratio: Sample cells per latent cell along each axis of the plan's grid.
        streamed: The shape of the output.
        plans: The plan of each transformer of a pipeline.
    """
    costs = Costs(scripts, profile)
    played = play(scripts, costs.seconds, post=costs.post, topology=topology, slowness=_slowness(plan, costs))
    levels = _Levels(costs)
    curves = [levels.curve(script, played) for script in scripts]
    return Rehearsal(
        kept=None,
        trace=pd.DataFrame(),
        memory=memory_table(curves),
        peaks=peak_table(curves),
        record=record,
        plan=or_none(plan),
        seconds=max(when.end for when in played.times.values()) if profile is not None else float("nan"),
        ratio=ratio or {},
        plans=plans or {},
        streamed=streamed or next((script.result for script in scripts if script.result), ()),
        scripts=tuple(scripts),
        profile=profile,
        topology=topology,
        times=played.times,
        estimated=_estimated(scripts, costs),
    )


def _slowness(plan: Plan, costs: Costs) -> Callable[[int], float]:
    """How many times as long steps take if so many ranks compute at the same time."""
    if plan.kind is not PlanKind.SHARDS:
        return costs.slowness
    # Shards wait for each other again and again, and not for long: other ranks hardly gain by it. So all count always.
    always = costs.slowness(costs.busy)
    return lambda computing: always


class _Levels:
    """The memory of ranks over time: what their tensors need, what is leaving, and kernels while they run.

    Args:
        costs: What kernels need.
    """

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._known: dict[int, tuple[Any, Any]] = {}

    def curve(self, script: Script, played: Performance) -> MemoryCurve:
        """The memory of a rank."""
        when = played.times[script.rank]
        done, sizes = self._points(script)
        levels = sizes + _leaving(script, played)[done]
        kept = thinned(levels)
        times = [when.at(place) for place in done[kept].tolist()]
        return MemoryCurve(script.rank, times, levels[kept].tolist(), int(levels.max(initial=0)))

    def _points(self, script: Script) -> tuple[Any, Any]:
        """After how many steps memory changes, and what is needed then; ranks that are alike share it."""
        if id(script.steps) not in self._known:
            points = [(done, 0, size) for done, size in script.allocated]
            for place, step in enumerate(script.steps):
                if isinstance(step, Compute):
                    points.append((place, 1, step.live + self._costs.bytes(step)))
            points.sort(key=lambda point: point[:2])
            table = np.array(points, dtype=np.int64).reshape(-1, 3)
            self._known[id(script.steps)] = table[:, 0], table[:, 2]
        return self._known[id(script.steps)]


def _leaving(script: Script, played: Performance) -> Any:
    """Bytes of sends that have not left although the script has dropped them, after each number of steps.

    A run drops what has left whenever it posts messages in the same group. A script drops everything at the next post.
    """
    when, arrivals = played.times[script.rank], played.messages.get(script.rank, ())
    change = np.zeros(len(script.steps) + 2, dtype=np.int64)
    posts: dict[str, list[int]] = defaultdict(list)
    groups: list[str] = []
    for place, step in enumerate(script.steps if script.kept else ()):
        if isinstance(step, Post):
            posts[step.group].append(place)
            groups += [step.group] * len(step.crossings)
    for message, dropped, size in script.kept:
        later = posts[groups[message]]
        # Times go up, so the first post at which the message has left can be searched for.
        at = bisect_left(later, arrivals[message], lo=bisect_left(later, dropped), key=when.at)
        change[dropped] += size
        change[later[at] if at < len(later) else len(script.steps)] -= size
    return change.cumsum()


def _events(script: Script, when: RankTimes) -> list[Event]:
    """The events of a rank, in seconds; waits for what has arrived already are none."""
    placed = [replace(event, start=when.at(event.start), end=when.at(event.end)) for event in script.recorded()]
    return [event for event in placed if event.kind is not Kind.WAIT or event.end > event.start]


def _estimated(scripts: Sequence[Script], costs: Costs) -> float:
    """The part of the computing time that no measurement of the very operator stands behind."""
    # Ranks that are alike share their steps.
    sharing = Counter(id(script.steps) for script in scripts)
    total = guessed = 0.0
    for steps in {id(script.steps): script.steps for script in scripts}.values():
        computed = [step for step in steps if isinstance(step, Compute)]
        total += sharing[id(steps)] * sum(costs.seconds(step) for step in computed)
        guessed += sharing[id(steps)] * sum(costs.estimated(step) for step in computed)
    return guessed / total if total else 0.0
