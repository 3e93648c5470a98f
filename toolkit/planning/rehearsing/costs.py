"""What the steps of scripts cost, given a profile: each operator once, and sections as the sum of theirs."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.planning.rehearsing.profile import NO_HOST_COST, Crowd, OperatorCost, Profile
from toolkit.planning.rehearsing.script import Compute, Script, Section, operators_of


class Costs:
    """The costs of all steps of a rehearsal's scripts.

    Args:
        scripts: The scripts of one call.
        profile: What operators cost; None: no time, and no memory beside tensors.
    """

    def __init__(self, scripts: Sequence[Script], profile: Profile | None) -> None:
        self._profile = profile
        self._operators = operators_of(scripts)
        self._sections = {key: section for script in scripts for key, section in script.sections.items()}
        host = NO_HOST_COST if profile is None else profile.host
        self._host: float = (getattr(host, scripts[0].around) if scripts else None) or 0.0
        self.busy = sum(any(isinstance(step, Compute) for step in script.steps) for script in scripts)
        """Number of ranks that compute at any time."""
        crowd = self._crowd(self.busy)
        self.post = (crowd.post or 0.0) / crowd.slowness
        """Seconds that posting a message takes a host with a processor of its own."""
        self._known: dict[tuple[str, int], OperatorCost] = {}

    def extend(self, script: Script) -> None:
        """Take in the operators and sections of another script of the same call."""
        self._operators |= script.operators
        self._sections |= script.sections

    def slowness(self, computing: int) -> float:
        """How many times as long steps take if so many ranks compute at the same time."""
        return self._crowd(computing).slowness

    def seconds(self, step: Compute) -> float:
        """The time of a step on a rank with a processor of its own, the host's part included."""
        return self._of(step).seconds + self._host * step.calls

    def bytes(self, step: Compute) -> int:
        """The most that is allocated during a step above what was before it."""
        return self._of(step).bytes

    def estimated(self, step: Compute) -> float:
        """How many seconds of a step are no measurement of that very operator."""
        if self._profile is None or self._profile.knows(step.key):
            return 0.0
        section = self._sections.get(step.key)
        if section is None:
            return self._of(step).seconds
        return sum(self.estimated(one) for one in section.steps)

    def _crowd(self, ranks: int) -> Crowd:
        return Crowd() if self._profile is None else self._profile.crowd(ranks)

    def _of(self, step: Compute) -> OperatorCost:
        key = step.key, step.made
        found = self._known.get(key)
        if found is None:
            section = self._sections.get(step.key)
            found = self._known[key] = self._operator(step) if section is None else self._section(section)
        return found

    def _operator(self, step: Compute) -> OperatorCost:
        if self._profile is None:
            return OperatorCost(0.0, step.made)
        return self._profile.cost(step.key, self._operators[step.key], step.made)

    def _section(self, section: Section) -> OperatorCost:
        costs = [self._of(step) for step in section.steps]
        most = max((step.live + cost.bytes for step, cost in zip(section.steps, costs, strict=True)), default=0)
        return OperatorCost(sum(cost.seconds for cost in costs), max(most, section.most))
