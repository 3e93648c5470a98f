"""Private names of torch and of Python live in compat modules only: elsewhere, a private name is the file's own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "toolkit" / "distributed"
SOURCES = sorted(path for path in FOLDER.rglob("*.py") if not path.name.endswith("_compat.py"))


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def foreign(source: str) -> list[str]:
    """Private names that a file uses and does not define itself."""
    own, used = set(), []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                own.add(name)
            case ast.Attribute(attr=name, ctx=ast.Store()):
                own.add(name)
            case ast.Attribute(attr=name, value=ast.Name(id=holder)) if private(name) and holder not in ("self", "cls"):
                used.append(name)
            case ast.Attribute(attr=name, value=value) if private(name) and not isinstance(value, ast.Name):
                used.append(name)
            case ast.ImportFrom(module=str(module), names=names):
                parts = [*module.split("."), *(alias.name for alias in names)]
                used += [part for part in parts if private(part)]
    # A named tuple's _replace is public in spite of its name.
    return [name for name in used if name not in own and name != "_replace"]


def test_foreign_names_are_found():
    code = "from torch.utils import _pytree; x._version; sys._getframe(); n._replace(); a._b; self._c; _b: int"
    assert sorted(foreign(code)) == ["_getframe", "_pytree", "_version"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_private_name_is_the_files_own(path):
    assert foreign(path.read_text()) == []
