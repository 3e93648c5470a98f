"""Proving that a transformer's stages compute what it computes: bit by bit, and with nothing hidden between them.

What is proven, and where. A class of the census is proven *at run time*, on its specimen: a small model of the class
with random weights and random inputs, cut into as many stages as it has layers. The specimen is built and run in the
process that asks, the first time that it asks for the class (a few hundred milliseconds), and the answer is kept in
that process's memory only. Nothing is stored, and another process proves the class again. A :class:`Proof` that is
passed on spares that, for any class; for classes outside the census it is required.

What it does not show: a proof is about the code path that its inputs took. Options of a call that take another path
(skipped layers, caches) are refused elsewhere, or raise in the stage that notices.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.errors import ModelError, NotExact
from toolkit.geometry.stage_split import StageSplit
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.proof import Form, Proof
from toolkit.models.transformers.splittable import check_fits, check_splittable
from toolkit.models.transformers.stage import run_stages
from toolkit.models.transformers.transformer_census import TRANSFORMERS
from toolkit.models.transformers.transformer_table import entry_of
from toolkit.numerics.tensor_compat import TreeSpec, tree_flatten, tree_leaves, tree_map_only


def prove(transformer: nn.Module, split: StageSplit, *args: Any, **kwargs: Any) -> Proof:
    """Run a transformer whole and in stages, in this process, on the same arguments.

    The stages run twice, one after the other: as they are, and with NaN for the latents of all but the first. Anything
    that passes values over a stage's border other than by the payload, such as a skip over several layers, shows in one
    of the two.

    Args:
        transformer: The whole model.
        split: Its layers in stages.
        *args: The transformer's arguments.
        **kwargs: The transformer's keyword arguments.

    Raises:
        NotExact: If the results are not equal bit by bit, or later stages need the latents of a class that is not known
            to need them.
        ModelError: If the transformer is in a state that stages cannot serve.
        PlanError: If the split is of another number of layers.
    """
    check_splittable(transformer)
    check_fits(split, transformer)
    whole = partial(transformer, *args, **kwargs)
    with torch.no_grad():
        expected = _tensors(whole())
        payloads: list[tuple[Form, ...]] = []
        got = run_stages(
            transformer, split, args=args, kwargs=kwargs, seen=lambda payload: payloads.append(_forms(payload))
        )
        _check_equal(transformer, split, whole=whole, expected=expected, got=_tensors(got))
        # Ghosts already return NaN for earlier layers. The latents themselves are the other way around the payload.
        poisoned = _poison(transformer, args, kwargs=kwargs)
        free = _equal(expected, _tensors(run_stages(transformer, split, args=args, kwargs=kwargs, later=poisoned)))
    cls, entry = type(transformer).__name__, entry_of(type(transformer))
    if not free and not (entry is not None and entry.latents_everywhere):
        raise NotExact(
            f"{cls} in {split!r}: its output changes with the latents that later stages are given, so they compute "
            "more from these than shapes. Use the whole transformer, or give the class an entry with its reason in "
            "toolkit.models.transformers.transformer_table."
        )
    return Proof(cls, split, _forms(expected), tuple(payloads), "first" if free else "every")


def check_class(transformer: nn.Module, proof: Proof | None = None) -> None:
    """Refuse a class whose stages are not known to be exact.

    Without a proof, a class of the census is proven here, on a small random specimen in as many stages as it has
    layers; the answer is kept for the life of this process.

    Args:
        transformer: A transformer of the class.
        proof: A proof from :func:`prove`, of any class. It is required for a class outside the census.

    Raises:
        ModelError: If the class is refused, with the reason, or nothing is known of it.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> check_class(transformer("QwenImage").build())
    """
    name, known = type(transformer).__name__, _classes(transformer)
    if proof is not None and proof.cls in known:
        return
    entry = entry_of(type(transformer))
    if entry is not None and entry.refused:
        raise ModelError(f"{name} cannot run in stages: {entry.refused}")
    reasons = {_refusal(name) for name, item in TRANSFORMERS.items() if item.cls in known}
    if not reasons:
        raise ModelError(
            f"{name} in stages: the class is not in the census, so it is not known whether its layers pass on "
            "all that the next ones need. Prove it with tk.virtual(plan, transformer).prove(...) on real inputs, and "
            "pass the result as proof=."
        )
    for reason in reasons - {None}:
        raise ModelError(f"{name} cannot run in stages: {reason}")


def returned_by(transformer: nn.Module) -> TreeSpec | None:
    """Return the tree that a call with ``return_dict=False`` returns, as the class's specimen shows it.

    Returns:
        A structure whose leaves are all tensors; None if it is not known before a call.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> returned_by(transformer("Wan").build()).num_leaves
        1
    """
    known = _classes(transformer)
    specs = {_spec(name) for name, item in TRANSFORMERS.items() if item.cls in known}
    return specs.pop() if len(specs) == 1 else None


def _classes(transformer: nn.Module) -> set[str]:
    """The classes whose forward a transformer has.

    What is proven is a forward. A subclass that inherits it needs no proof of its own; one that overrides it does.
    """
    cls: Any = type(transformer)
    return {base.__name__ for base in cls.__mro__ if getattr(base, "forward", None) is cls.forward}


def finest(transformer: nn.Module) -> StageSplit:
    """Split a transformer into one stage per layer."""
    layers = len(layers_of(transformer))
    return StageSplit.even(layers, layers)


@lru_cache
def _refusal(name: str) -> str | None:
    """Why the class of a specimen is refused; None if it is not. Kept in the memory of this process only."""
    specimen = TRANSFORMERS[name]
    model = specimen.build()
    with warnings.catch_warnings(action="ignore"):  # Mochi asks for an autocast that processors do not have
        try:
            prove(model, finest(model), **specimen.inputs())
        except NotExact as error:
            return str(error)
    return None


@lru_cache
def _spec(name: str) -> TreeSpec | None:
    """The structure of what a specimen's call returns. Kept in the memory of this process only."""
    specimen = TRANSFORMERS[name]
    inputs = specimen.inputs()
    if inputs.get("return_dict") is not False:
        return None
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        leaves, spec = tree_flatten(specimen.build()(**inputs))
    return spec if all(isinstance(leaf, Tensor) for leaf in leaves) else None


def _poison(transformer: nn.Module, args: tuple[Any, ...], *, kwargs: Mapping[str, Any]) -> Any:
    """The arguments with NaN for the latents: the first parameter, and audio's."""
    signature = inspect.signature(inspect.unwrap(type(transformer).forward))
    names = list(signature.parameters)[1:]  # less self
    latents = {names[0], "audio_hidden_states"}
    named = {name: _nan(value) if name in latents else value for name, value in kwargs.items()}
    return tuple(_nan(value) if name in latents else value for name, value in zip(names, args, strict=False)), named


def _nan(value: Any) -> Any:
    return tree_map_only(Tensor, lambda x: torch.full_like(x, torch.nan), value)


def _check_equal(
    transformer: nn.Module, split: StageSplit, *, whole: Callable[[], Any], expected: list[Tensor], got: list[Tensor]
) -> None:
    """Raise with the likeliest reason if two results are not equal."""
    if _equal(expected, got):
        return
    where = f"{type(transformer).__name__} in {split!r}"
    # The whole once more: if it does not even equal itself, the stages are not to blame.
    again = _tensors(whole())
    if not _equal(expected, again):
        raise NotExact(
            f"{where}: its own call does not give the same twice, or gives NaN, so nothing can be compared. Use "
            "transformer.eval(), and other inputs where the output is not finite."
        )
    # NaN can only come from a ghost: some layer read more than the payload.
    if any(x.isnan().any() for x in got):
        raise NotExact(
            f"{where}: the output holds NaN, so a layer needs more of an earlier stage than what its last layer "
            "returns: a skip over layers, or values kept between them. Use the whole transformer, or other cuts."
        )
    raise NotExact(f"{where}: the output differs from the whole's. Use the whole transformer, or other cuts.")


def _tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def _forms(output: Any) -> tuple[Form, ...]:
    return tuple((tuple(x.shape), x.dtype) for x in _tensors(output))


def _equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(a, b, strict=True))
