"""The tutorials as files: a size that mails and diffs bear, a question each, figures that show without a kernel.

That their outputs are those of a run is nbval's business (``make notebooks``). Here it is made sure that it would tell.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
QUESTION = re.compile(r"# .+\?")

tutorial = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def bundles(cell: NotebookNode) -> list[NotebookNode]:
    """What a cell displayed, by mime type."""
    return [output.data for output in cell.outputs if "data" in output]


def asks_for_figure(cell: NotebookNode) -> bool:
    """Whether the last line of a cell is a call of ``tk.plot``, so that its figure is shown."""
    body = ast.parse(cell.source).body
    last = body[-1] if body else None
    return isinstance(last, ast.Expr) and ast.unparse(last).startswith("tk.plot.")


def test_they_are_numbered_without_a_gap():
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(len(NOTEBOOKS))]


@tutorial
def test_small_and_without_widget_state(path: Path):
    notebook = read(path)
    assert path.stat().st_size < 2_000_000
    assert "widgets" not in notebook.metadata
    assert not any(WIDGET in data for cell in code_cells(notebook) for data in bundles(cell))


@tutorial
def test_short_and_with_a_question(path: Path):
    notebook = read(path)
    assert QUESTION.fullmatch(notebook.cells[0].source.splitlines()[0])
    assert len(notebook.cells) < 25
    assert max(len(cell.source.splitlines()) for cell in code_cells(notebook)) < 26


@tutorial
def test_ran_from_top_to_bottom_without_an_error(path: Path):
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)


@tutorial
def test_every_figure_has_a_png(path: Path):
    for cell in code_cells(read(path)):
        figures = [data for data in bundles(cell) if PLOTLY in data]
        assert figures or not asks_for_figure(cell), cell.source
        assert all("data:image/png" in data["text/html"] and data["text/plain"] for data in figures), cell.source


@tutorial
def test_every_notebook_is_in_the_readme(path: Path):
    assert f"({path.relative_to(ROOT)})" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("stored", "passes"), [("42.06 dB", True), ("42.07 dB", False)])
def test_a_changed_number_fails_under_nbval(stored: str, passes: bool, tmp_path: Path):
    cell = new_code_cell("print('42.06 dB')", execution_count=1)
    cell.outputs = [new_output("stream", name="stdout", text=f"{stored}\n")]
    file = tmp_path / "one.ipynb"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(new_notebook(cells=[cell], metadata={"kernelspec": kernel}), file)
    nbval = ["-q", "-o", "addopts=", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *nbval, f"--rootdir={tmp_path}", file]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode == 0) is passes, result.stdout
    assert passes or ("42.06" in result.stdout and "42.07" in result.stdout)
