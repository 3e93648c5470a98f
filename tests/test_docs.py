"""The documentation as files: links lead somewhere, every page is in the contents, every public name in the reference.

``make docs`` builds the site, and is not a part of the suite. What it would find wrong in these is found here sooner.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from support.pages import DOCS, PAGES, ROOT, anchors, blocks, links

import toolkit as tk
from toolkit.cluster.engines import NAMES as ENGINES
from toolkit.models import demo

MARKDOWN = [*PAGES, *sorted(ROOT.glob("*.md"))]
MODULES = {
    "toolkit.plot": tk.plot.__all__,
    "toolkit.widgets": tk.widgets.__all__,
    "toolkit.distributed": tk.distributed.__all__,
    "toolkit.engines": list(ENGINES),
    "toolkit.demo": demo.__all__,
}
DIRECTIVE = re.compile(r"^\.\. (?:auto(?:class|function|exception|data)|py:module):: (\S+)$", re.MULTILINE)
ENTRIES = re.compile(r"```\{toctree\}(.*?)```", re.DOTALL)


def contents() -> list[str]:
    """The pages that index.md lists, without endings."""
    bodies = ENTRIES.findall((DOCS / "index.md").read_text())
    return [line for body in bodies for line in body.splitlines() if line and not line.startswith((":", "{"))]


def documented() -> list[str]:
    return [name for page in sorted(DOCS.glob("reference/*.md")) for name in DIRECTIVE.findall(page.read_text())]


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path):
    for words, target in links(page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        # Without words a link is invisible where the file is read as it is, as on the repository's own pages.
        assert words, f"{target}: a link without words"
        file = page.parent / path if path else page
        assert file.exists(), f"{target}: no such file"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{target}: no such heading"


def test_links_of_notebooks_lead_to_files():
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(notebook, as_version=4).cells:
            for _, target in links(cell.source) if cell.cell_type == "markdown" else ():
                assert "://" in target or (notebook.parent / target).exists(), f"{notebook.name}: {target}"


def test_every_page_and_every_notebook_is_in_the_contents():
    pages = [str(page.relative_to(DOCS).with_suffix("")) for page in PAGES if page.name != "index.md"]
    notebooks = [f"notebooks/{path.stem}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    assert sorted(contents()) == sorted(pages + notebooks)


def test_every_public_name_is_in_the_reference_once():
    wanted = [f"toolkit.{name}" for name in tk.__all__ if f"toolkit.{name}" not in MODULES]
    wanted += list(MODULES)
    wanted += [f"{module}.{name}" for module, names in MODULES.items() for name in names]
    found = Counter(name for name in documented() if name.count(".") == 1 or name.rpartition(".")[0] in MODULES)
    assert found == Counter(wanted)


def test_what_the_reference_names_exists():
    for name in documented():
        value = tk
        for part in name.split(".")[1:]:
            value = getattr(value, part)


def test_what_builds_the_site_is_pinned():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["docs"]
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {re.match(r"[\w-]+", requirement)[0] for requirement in extra} <= pinned


def test_little_is_left_out_of_what_runs():
    left_out = [block for page in MARKDOWN for block in blocks(page.read_text()) if block.mark == "not run"]
    assert len(left_out) <= 4
    assert all(block.remark for block in left_out), "say why a block is not run"
