"""The layers of a transformer: the blocks between which stages are cut, in the order its own forward calls them.

They are read off the source of the class's ``forward``, not off a list of class names: a loop over an ``nn.ModuleList``
of its own is a run of layers.

    for block in self.transformer_blocks:          -> transformer_blocks.0, .1, ...
    for block in self.single_transformer_blocks:   -> single_transformer_blocks.0, ...
    for a, b in zip(self.spatial, self.temporal):  -> spatial.0, temporal.0, spatial.1, ...
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import lru_cache
from itertools import zip_longest
from typing import Any

from torch import Tensor, nn

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.span import Span
from toolkit.models.transformers.transformer_table import entry_of


def layers_of(transformer: nn.Module) -> tuple[str, ...]:
    """Name a transformer's layers, in the order its forward calls them.

    They are the blocks of every ``nn.ModuleList`` that ``forward`` loops over, read off its source. Blocks that refine
    noise or text before the first layer are not layers: every stage computes them for itself.

    Raises:
        ModelError: If forward loops over no such list.

    Example:
        >>> from diffusers import FluxTransformer2DModel
        >>> small = dict(num_attention_heads=1, attention_head_dim=8, axes_dims_rope=(2, 2, 4))
        >>> layers_of(FluxTransformer2DModel(num_layers=1, num_single_layers=2, **small))
        ('transformer_blocks.0', 'single_transformer_blocks.0', 'single_transformer_blocks.1')
    """
    cls: Any = type(transformer)
    children = dict(transformer.named_children())
    layers: dict[str, None] = {}
    for loop in _loops(cls):
        # Other attributes that a loop mentions, such as a list of flags, are not lists of blocks.
        lists = {name: blocks for name in loop if isinstance(blocks := children.get(name), nn.ModuleList)}
        # zip_longest, as one list may be longer: its last blocks are then called one after the other.
        rows = zip_longest(*([f"{name}.{index}" for index in range(len(blocks))] for name, blocks in lists.items()))
        # A dict, not a list: two loops over one list (one per branch of an if) name its blocks once.
        layers |= dict.fromkeys(name for row in rows for name in row if name is not None)
    if not layers:
        raise ModelError(
            f"{cls.__name__} cannot be cut in stages: its forward loops over no nn.ModuleList of its own, so its "
            "layers cannot be read. Use a transformer whose forward does, or a plan of one stage."
        )
    return tuple(layers)


def owned(transformer: nn.Module, span: Span) -> tuple[str, ...]:
    """Name the layers of one stage.

    Args:
        transformer: The whole model.
        span: The stage's layers, by their place in :func:`layers_of`.

    Raises:
        PlanError: If the transformer has no such layers.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> owned(transformer("Flux").build(), Span(1, 3))
        ('transformer_blocks.1', 'single_transformer_blocks.0')
    """
    layers = layers_of(transformer)
    if not 0 <= span.start < span.stop <= len(layers):
        raise PlanError(
            f"stage {span} of {type(transformer).__name__}: it has {len(layers)} layers, 0:{len(layers)}, and every "
            "stage needs at least 1. Split that number of layers."
        )
    return layers[span.start : span.stop]


def needs_of(transformer: nn.Module, span: Span) -> tuple[str, ...]:
    """Name the sub-modules of other stages' layers that a stage's own forward still uses by name.

    They are read off its source: ``self.blocks[0].norm.emb(...)`` before the loops is needed by every stage; after them
    it is needed by the last one.

    Args:
        transformer: The whole model.
        span: The stage's layers, by their place in :func:`layers_of`.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> dit = transformer("DiT").build()
        >>> needs_of(dit, Span(2, 4)), needs_of(dit, Span(1, 2)), needs_of(dit, Span(0, 4))
        (('transformer_blocks.0.norm1.emb',), (), ())
    """
    cls: Any = type(transformer)
    mine = owned(transformer, span)
    last = span.stop == len(layers_of(transformer))
    names = (name for name, after in _borrowed(cls) if last or not after)
    # The first two names of a path are the list and the index: the layer that it belongs to.
    foreign = [name for name in names if ".".join(name.split(".")[:2]) not in mine]
    found = (_module_of(transformer, name) for name in foreign)
    return tuple(dict.fromkeys(name for name in found if name is not None))


# Classes do not change, and reading one takes milliseconds: the answers are kept per class.
@lru_cache
def _loops(cls: type[nn.Module]) -> tuple[tuple[str, ...], ...]:
    """Name the attributes that each for-loop of a forward goes over; several if it zips them."""
    entry = entry_of(cls)
    prologue = {} if entry is None else entry.prologue
    loops = (tuple(_attributes(node.iter)) for node in _statements(forward_of(cls)) if isinstance(node, ast.For))
    layers = (tuple(name for name in loop if name not in prologue and "refiner" not in name) for loop in loops)
    return tuple(dict.fromkeys(layers))


@lru_cache
def _borrowed(cls: type[nn.Module]) -> tuple[tuple[str, bool], ...]:
    """Find what a forward uses of a block by its index, and whether after its loops."""
    forward = forward_of(cls)
    loops = [node for node in _statements(forward) if isinstance(node, ast.For)]
    end = max((node.lineno for node in loops), default=0)
    chains = [node for node in ast.walk(forward) if isinstance(node, (ast.Attribute, ast.Subscript))]
    # self.blocks[0].norm is a chain of nodes, each the value of the next; only the outermost is a full path.
    within = {id(node.value) for node in chains}
    used = ((_path(node), node.lineno > end) for node in chains if id(node) not in within)
    return tuple(dict.fromkeys((path, after) for path, after in used if path is not None))


def _path(node: ast.expr) -> str | None:
    """Return ``"blocks.0.norm"`` for ``self.blocks[0].norm``; None for what begins otherwise."""
    match node:
        case ast.Subscript(value=ast.Attribute(value=ast.Name(id="self"), attr=name), slice=ast.Constant(value=int(i))):
            return f"{name}.{i}"
        case ast.Subscript(value=inner, slice=ast.Constant(value=int(i))) if above := _path(inner):
            return f"{above}.{i}"
        case ast.Attribute(value=inner, attr=name) if above := _path(inner):
            return f"{above}.{name}"
    return None


def _module_of(transformer: nn.Module, path: str) -> str | None:
    """Return the module that a path ends at, or that owns the method or tensor it ends at; None for anything else."""
    modules = dict(transformer.named_modules())
    if path in modules:
        return path
    parent, _, name = path.rpartition(".")
    value = getattr(modules.get(parent), name, None)
    return parent if inspect.ismethod(value) or isinstance(value, Tensor) else None


def forward_of(cls: type[nn.Module]) -> ast.FunctionDef:
    """Parse the source of a class's forward, looking through decorators.

    Raises:
        ModelError: If it has none, as for a class made at run time.
    """
    forward = inspect.unwrap(cls.forward)
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(forward))).body
    except (OSError, TypeError, SyntaxError, ValueError) as error:
        raise ModelError(
            f"{cls.__name__}.forward has no source to read ({error}), so its layers and what they return stay unknown. "
            "Define the class in a file."
        ) from error
    assert isinstance(tree, ast.FunctionDef)
    return tree


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Go through all of a function in the order of its source, leaving out functions within it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield child
            yield from _statements(child)


def _attributes(node: ast.expr) -> Iterator[str]:
    """Name the attributes of ``self`` in an expression."""
    for child in ast.walk(node):
        if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name) and child.value.id == "self":
            yield child.attr
