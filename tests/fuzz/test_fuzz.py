"""Fuzzed calls: each gives an answer whose invariants hold, or one of our errors; nothing else.

By hand, with other cases each time: ``pytest tests/fuzz --fuzz-cases 10000``.
"""

from __future__ import annotations

import warnings

import pytest
from fuzz.conftest import DEFAULT
from fuzz.target import COUNTS
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from toolkit.errors import ToolkitError

WEIGHTS = sum(target.weight for target in TARGETS.values())
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.parametrize("name", TARGETS)
def test_every_call_gives_an_answer_or_a_refusal(name, cases):
    target = TARGETS[name]
    count = max(2, round((cases or DEFAULT) * target.weight / WEIGHTS))
    # Failures of the suite need not be small: looking for a smaller one takes as long as all cases together.
    phases = (Phase.explicit, Phase.generate, Phase.shrink) if cases else (Phase.explicit, Phase.generate)

    @settings(
        max_examples=count, derandomize=cases is None, database=None, deadline=None, phases=phases,
        suppress_health_check=SLOW,
    )  # fmt: skip
    @given(st.fixed_dictionaries(target.given))
    def run(arguments):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = target.call(**arguments)
        except ToolkitError:
            COUNTS[name, "refusal"] += 1
            return
        COUNTS[name, "answer"] += 1
        target.check(answer, **arguments)

    run()
