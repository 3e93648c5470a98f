"""When messages arrive, as far as it is known from a performance of the scripts as they were written before.

What a rank does may depend on what has arrived: streamed tiles hand over a band as soon as it is complete. But what has
arrived depends on what the other ranks do. So scripts are written and played in turns, until they stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.planning.rehearsing.costs import Costs
from toolkit.planning.rehearsing.script import Compute, End, Post, Script


class Forecast:
    """The times of one rank while its script is written anew.

    Args:
        arrivals: When messages arrived or left in the performance before.
        costs: The costs of steps.
    """

    def __init__(self, arrivals: Mapping[End, float], costs: Costs) -> None:
        self._arrivals, self._costs = arrivals, costs
        self._now, self._read = 0.0, 0

    def arrived(self, end: End, script: Script) -> bool:
        """Whether a message is there when the script has been written so far."""
        return self._arrivals.get(end, float("inf")) <= self._time(script)

    def wait(self, end: End, script: Script) -> None:
        """Let time pass until a message is there."""
        self._now = max(self._time(script), self._arrivals.get(end, 0.0))

    def _time(self, script: Script) -> float:
        # What the rank does may differ from what it did in the performance before.
        self._costs.extend(script)
        # Nor is it known how many others will compute then: all that compute at any time.
        slowness = self._costs.slowness(self._costs.busy)
        for step in script.steps[self._read :]:
            if isinstance(step, Compute):
                self._now += slowness * self._costs.seconds(step)
            elif isinstance(step, Post):
                self._now += slowness * self._costs.post * len(step.crossings)
        self._read = len(script.steps)
        return self._now
