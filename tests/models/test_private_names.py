"""Private names of other libraries live in compat modules only, where one tested place breaks when they change."""

import ast
import re
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "toolkit" / "models"
SOURCES = sorted(path for path in MODELS.rglob("*.py") if not path.name.endswith("_compat.py"))
PRIVATE = re.compile(r"_(?!_)\w+")
OURS = {"_toolkit_parts"}


def private_names(tree: ast.AST) -> list[str]:
    """Attributes of anything but self and cls, names in strings, and modules, that begin with one underscore."""
    found = []
    pieces = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name) if PRIVATE.fullmatch(name):
                found.append(name)
            case ast.Constant(value=str(name)) if PRIVATE.fullmatch(name) and id(node) not in pieces:
                found.append(name)
            case ast.ImportFrom(module=str(module), names=names) if not module.startswith("toolkit"):
                parts = [*module.split("."), *(alias.name for alias in names)]
                found += [part for part in parts if PRIVATE.fullmatch(part)]
            case ast.Import(names=names):
                found += [part for alias in names for part in alias.name.split(".") if PRIVATE.fullmatch(part)]
    return found


def test_private_names_are_found():
    code = "x._a; getattr(x, '_b'); from torch.utils import _c; import torch._d; self._e; x.__dict__; '_not a name'"
    assert sorted(private_names(ast.parse(code))) == ["_a", "_b", "_c", "_d"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(MODELS)))
def test_only_compat_modules_use_private_names(path):
    assert set(private_names(ast.parse(path.read_text()))) <= OURS


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(MODELS)))
def test_only_compat_modules_reach_into_a_library(path):
    """No look into sys.modules, and no import from within diffusers or transformers, whose inner modules move."""
    text = path.read_text()
    assert "sys.modules" not in text
    assert not re.search(r"^\s*(from|import) (diffusers|transformers)\.", text, re.MULTILINE)
