"""How many cases a fuzz run has, and how many of them were answered and refused."""

from __future__ import annotations

import pytest
from fuzz.target import COUNTS

DEFAULT = 500
"""Cases of a run of the test suite, over all targets; always the same ones."""


def pytest_addoption(parser: pytest.Parser) -> None:
    text = f"cases of tests/fuzz over all targets; other ones each time, unless --hypothesis-seed; default {DEFAULT}"
    parser.addoption("--fuzz-cases", type=int, default=None, help=text)


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> int | None:
    """The number of cases asked for; None in the test suite."""
    return request.config.getoption("--fuzz-cases", None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not COUNTS or not terminalreporter.config.getoption("--fuzz-cases", None):
        return
    terminalreporter.section("fuzz: answers and refusals")
    for name in sorted({name for name, _ in COUNTS}):
        terminalreporter.line(f"{name:32} {COUNTS[name, 'answer']:6} {COUNTS[name, 'refusal']:6}")
    total = [sum(count for (_, kind), count in COUNTS.items() if kind == one) for one in ("answer", "refusal")]
    terminalreporter.line(f"{'all':32} {total[0]:6} {total[1]:6}")
