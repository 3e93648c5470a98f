"""The stored notebooks as pages without a kernel or a network: every figure is there."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Browser
from support.frontend import ROOT, VIEWPORT, Guard, shoot

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def figures(notebook: nbformat.NotebookNode) -> int:
    """Outputs that are pictures: PNGs, or drawings in HTML."""
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in data or bool(re.search("<svg|<img", data.get("text/html", ""))) for data in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_shows_offline(browser: Browser, path: Path, tmp_path: Path):
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata
    file = tmp_path / "page.html"
    file.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    context = browser.new_context(viewport=VIEWPORT)
    guard, page = Guard(context), context.new_page()
    page.goto(file.as_uri())
    shown = page.locator(".jp-OutputArea-output :is(img:not(.tk-still), .tk-figure > svg)")
    sizes = shown.evaluate_all("all => all.map(one => [one.getBoundingClientRect().width, one.naturalWidth ?? 1])")
    assert len(sizes) >= figures(notebook)
    assert all(width > 20 and natural > 0 for width, natural in sizes)
    assert guard.errors == []
    shoot(page, f"exported-{path.stem}")
    context.close()
