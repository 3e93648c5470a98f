"""Proving that a transformer's stages compute what it computes: bit by bit, and with nothing hidden between them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from toolkit.errors import ModelError, NotExact
from toolkit.geometry.stage_split import StageSplit
from toolkit.models.transformers.layers import layers_of
from toolkit.models.transformers.splittable import check_fits, check_splittable
from toolkit.models.transformers.stage import run_stages
from toolkit.models.transformers.transformer_census import TRANSFORMERS

Form: TypeAlias = tuple[tuple[int, ...], torch.dtype]
"""Shape and dtype of a tensor."""

LATENTS_EVERYWHERE: Mapping[str, str] = {
    "WanVACETransformer3DModel": "the hints that it adds to layers are made of the embedded latents, on every stage",
}
"""Classes whose later stages need the values of the latents, not their shape alone, with the reason.

Ranks have them: each of them steps its own scheduler on the same results."""


@dataclass(frozen=True, repr=False)
class Proof:
    """That a split transformer computed, bit by bit, what the whole one did. There is none where it did not.

    Attributes:
        cls: the transformer's class.
        split: its layers in stages.
        outputs: shapes and dtypes of what was compared.
        payloads: shapes and dtypes of what each stage but the last hands to the next.
        latents: which stages need the latents' values: ``"first"``, or ``"every"`` for a class whose entry says so. The
            others were given NaN.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> flux = transformer("Flux")
        >>> prove(flux.build(), StageSplit.even(5, stages=3), **flux.inputs())
        FluxTransformer2DModel in StageSplit(5 layers in 3 stages: 2 2 1): equal bit by bit
          compared    1x16x4 float32
          stage 0->1  1x8x64 float32, 1x16x64 float32: 6144 bytes
          stage 1->2  1x8x64 float32, 1x16x64 float32: 6144 bytes
          latents     needed by the first stage
    """

    cls: str
    split: StageSplit
    outputs: tuple[Form, ...]
    payloads: tuple[tuple[Form, ...], ...]
    latents: str

    @property
    def payload_bytes(self) -> tuple[int, ...]:
        """Bytes between each stage and the next."""
        return tuple(sum(torch.Size(shape).numel() * dtype.itemsize for shape, dtype in row) for row in self.payloads)

    def __repr__(self) -> str:
        crossing = [
            f"  stage {stage}->{stage + 1}  {_say(forms)}: {size} bytes"
            for stage, (forms, size) in enumerate(zip(self.payloads, self.payload_bytes, strict=True))
        ]
        lines = [f"{self.cls} in {self.split!r}: equal bit by bit", f"  compared    {_say(self.outputs)}", *crossing]
        stages = "the first stage" if self.latents == "first" else "every stage"
        return "\n".join([*lines, f"  latents     needed by {stages}"])


def prove(transformer: nn.Module, split: StageSplit, *args: Any, **kwargs: Any) -> Proof:
    """Run a transformer whole and in stages, in this process, on the same arguments.

    The stages are run twice, one after the other: as they are, and with NaN for the latents of all but the first. What
    hands values past a stage's border in any way but the payload, such as a skip over several layers, shows in either.

    Raises:
        NotExact: where the results are not equal bit by bit, or an unlisted class needs the latents on later stages.
        ModelError: for a transformer in a state that stages cannot serve.
        PlanError: for a split of another number of layers.
    """
    check_splittable(transformer)
    check_fits(split, transformer)
    whole = partial(transformer, *args, **kwargs)
    with torch.no_grad():
        expected = _tensors(whole())
        payloads: list[tuple[Form, ...]] = []
        got = run_stages(transformer, split, args, kwargs, lambda payload: payloads.append(_forms(payload)))
        _check_equal(transformer, split, whole, expected, _tensors(got))
        poisoned = _poison(transformer, args, kwargs)
        free = _equal(expected, _tensors(run_stages(transformer, split, args, kwargs, later=poisoned)))
    cls = type(transformer).__name__
    if not free and cls not in LATENTS_EVERYWHERE:
        raise NotExact(
            f"{cls} in {split!r}: its output changes with the latents that later stages are given, so they compute "
            "more from these than shapes. Use the whole transformer, or give the class an entry with its reason in "
            "toolkit.models.transformers.split_check.LATENTS_EVERYWHERE."
        )
    return Proof(cls, split, _forms(expected), tuple(payloads), "first" if free else "every")


def check_class(transformer: nn.Module, proof: Proof | None = None) -> None:
    """Refuse a class whose stages are not known to be exact.

    It is decided once for a class, on its specimen of the census: in as many stages as it has layers.

    Args:
        transformer: of the class.
        proof: of a class that the census has not, from :func:`prove`.

    Raises:
        ModelError: with the reason.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> check_class(transformer("QwenImage").build())
    """
    name, known = type(transformer).__name__, _classes(transformer)
    if proof is not None and proof.cls in known:
        return
    reasons = {_refusal(name) for name, item in TRANSFORMERS.items() if item.cls in known}
    if not reasons:
        raise ModelError(
            f"{name} in stages: the class is not in the census, so it is not known whether its layers hand on "
            "all that the next ones need. Prove it with tk.virtual(plan, transformer).prove(...) on real inputs, and "
            "pass what that returns as proof=."
        )
    for reason in reasons - {None}:
        raise ModelError(f"{name} cannot run in stages: {reason}")


def returned_by(transformer: nn.Module) -> Any:
    """The tree that a call with ``return_dict=False`` returns, as the class's specimen shows it.

    Returns:
        A pytree spec whose leaves are all tensors; None where it is not known before a call.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> returned_by(transformer("Wan").build()).num_leaves
        1
    """
    known = _classes(transformer)
    specs = {_spec(name) for name, item in TRANSFORMERS.items() if item.cls in known}
    return specs.pop() if len(specs) == 1 else None


def _classes(transformer: nn.Module) -> set[str]:
    """The classes whose forward a transformer has."""
    cls: Any = type(transformer)
    return {base.__name__ for base in cls.__mro__ if getattr(base, "forward", None) is cls.forward}


def finest(transformer: nn.Module) -> StageSplit:
    """Every layer a stage."""
    layers = len(layers_of(transformer))
    return StageSplit.even(layers, layers)


@lru_cache
def _refusal(name: str) -> str | None:
    """Why the class of a specimen is refused; None where it is not."""
    specimen = TRANSFORMERS[name]
    model = specimen.build()
    with warnings.catch_warnings(action="ignore"):  # Mochi's, of an autocast that a processor has not
        try:
            prove(model, finest(model), **specimen.inputs())
        except NotExact as error:
            return str(error)
    return None


@lru_cache
def _spec(name: str) -> Any:
    """What a specimen's call returns, as a tree of tensors."""
    specimen = TRANSFORMERS[name]
    inputs = specimen.inputs()
    if inputs.get("return_dict") is not False:
        return None
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        leaves, spec = pytree.tree_flatten(specimen.build()(**inputs))
    return spec if all(isinstance(leaf, Tensor) for leaf in leaves) else None


def _poison(transformer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The arguments with NaN for the latents: the first parameter, and audio's."""
    signature = inspect.signature(inspect.unwrap(type(transformer).forward))
    names = list(signature.parameters)[1:]
    latents = {names[0], "audio_hidden_states"}
    named = {name: _nan(value) if name in latents else value for name, value in kwargs.items()}
    return tuple(_nan(value) if name in latents else value for name, value in zip(names, args, strict=False)), named


def _nan(value: Any) -> Any:
    return pytree.tree_map_only(Tensor, lambda x: torch.full_like(x, torch.nan), value)


def _check_equal(
    transformer: nn.Module, split: StageSplit, whole: Callable[[], Any], expected: list[Tensor], got: list[Tensor]
) -> None:
    if _equal(expected, got):
        return
    where = f"{type(transformer).__name__} in {split!r}"
    again = _tensors(whole())
    if not _equal(expected, again):
        raise NotExact(
            f"{where}: its own call does not give the same twice, or gives NaN, so nothing can be compared. Use "
            "transformer.eval(), and other inputs where the output is not finite."
        )
    if any(x.isnan().any() for x in got):
        raise NotExact(
            f"{where}: the output holds NaN, so a layer needs more of an earlier stage than what its last layer "
            "returns: a skip over layers, or values kept between them. Use the whole transformer, or other cuts."
        )
    raise NotExact(f"{where}: the output differs from the whole's. Use the whole transformer, or other cuts.")


def _tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def _forms(output: Any) -> tuple[Form, ...]:
    return tuple((tuple(x.shape), x.dtype) for x in _tensors(output))


def _equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(a, b, strict=True))


def _say(forms: tuple[Form, ...]) -> str:
    return ", ".join(f"{'x'.join(map(str, shape))} {str(dtype).removeprefix('torch.')}" for shape, dtype in forms)
