"""What a notebook shows of an error: the cell's line and the model's, and not this package's."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

import toolkit as tk
from toolkit.cell_traceback import OWN, without_own_frames
from toolkit.cluster.engines.interrupts import deferred

REMOTE = f"""Traceback (most recent call last):
  File "{OWN}/cluster/engines/worker.py", line 5, in work
    return call()
           ^^^^^^
  File "{OWN}/cluster/calls.py", line 7, in call
    model(x)
  File "/site-packages/torch/nn/modules/conv.py", line 9, in forward
    conv2d(x)
    ^^^^^^^^^
  File "{OWN}/distributed/shards/mode.py", line 11, in rule
    raise ValueError
ValueError: a message
    that goes on
"""


@pytest.fixture(scope="module")
def shell() -> InteractiveShell:
    return InteractiveShell()


def shown(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], cell: str) -> list[str]:
    capsys.readouterr()
    shell.run_cell(cell)
    return capsys.readouterr().out.splitlines()


def test_a_mistake_shows_the_line_of_the_cell_and_the_message(shell, capsys):
    lines = shown(shell, capsys, "import toolkit as tk\ntk.TileGrid.cover({'h': 4}, tile=2, overlap=3)")
    assert lines[0].startswith("cell, line 2")
    assert lines[1].strip() == "tk.TileGrid.cover({'h': 4}, tile=2, overlap=3)"
    assert lines[2].startswith("PlanError: ")
    assert len(lines) == 3


def test_a_function_of_the_user_between_is_shown(shell, capsys):
    cell = "def mine():\n    return tk.ShardPlan(h=0)\nmine()"
    lines = shown(shell, capsys, cell)
    assert [line.split(":")[0] for line in lines[::2]] == ["cell, line 3", "cell, line 2, in mine", "PlanError"]


def test_what_led_to_an_error_is_shown_first(shell, capsys):
    lines = shown(
        shell, capsys, "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise tk.ToolkitError('no') from e"
    )
    assert lines[2] == "ZeroDivisionError: division by zero"
    assert lines[-1] == "ToolkitError: no"


def test_a_rank_shows_the_models_frames(shell, capsys):
    shell.user_ns["error"] = tk.RankFailed(1, "ValueError: a message", REMOTE)
    lines = shown(shell, capsys, "raise error")
    assert "  (2 frames of toolkit)" in lines
    assert "  (1 frame of toolkit)" in lines
    assert any("conv.py" in line for line in lines)
    assert not any("worker.py" in line or "return call()" in line for line in lines)
    assert lines[-4:] == [
        "  (1 frame of toolkit)",
        "ValueError: a message",
        "    that goes on",
        "--- end of rank 1 ---",
    ]


def test_our_own_fault_is_shown_whole():
    ours = f'Traceback\n  File "{OWN}/a.py", line 1, in f\n    f()\nValueError: no'
    assert without_own_frames(ours) == ours


def test_stop_is_one_line_and_keeps_what_it_ended(shell, capsys):
    def cancelled() -> None:
        with deferred() as seen:
            seen.count = 1
            raise tk.RunCancelled("the run was cancelled.")

    shell.user_ns["cancelled"] = cancelled
    assert shown(shell, capsys, "cancelled()") == [
        "KeyboardInterrupt: the run was cancelled. The cluster is usable again."
    ]
    with pytest.raises(KeyboardInterrupt) as caught:
        cancelled()
    assert isinstance(caught.value.__cause__, tk.RunCancelled)
