"""Errors: each says what happened, and all of them survive a journey between processes."""

from __future__ import annotations

import pickle

import pytest

from toolkit import errors

EXAMPLES = [
    errors.ToolkitError("no"),
    errors.PlanError("h=0: must be an int of at least 1."),
    errors.ModelError("no"),
    errors.NotExact("no"),
    errors.RunError("no"),
    errors.RankFailed(1, "KeyError: 'a'", "Traceback ..."),
    errors.RankDied(2, -9, "ended by SIGKILL"),
    errors.RunTimeout.of_run((0, 3), 2.0, last="rank 0 computing"),
    errors.RunTimeout.of_wait(0.5),
    errors.RunCancelled("the run was cancelled."),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_can_be_pickled(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_a_wait_that_ends_stops_nobody():
    assert "were stopped" in str(errors.RunTimeout.of_run((0,), 2.0, last="nothing"))
    assert "goes on" in str(errors.RunTimeout.of_wait(2.0))
    assert "stopped" not in str(errors.RunTimeout.of_wait(2.0))
