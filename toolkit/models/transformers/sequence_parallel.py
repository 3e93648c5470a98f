"""Sequence parallelism: ranks that each hold a part of a transformer's sequence, with diffusers' own hooks.

Ulysses: outside of attention a rank computes its own tokens. For attention the ranks exchange tokens for heads, so that
each has the whole sequence for its own heads; afterwards they exchange back.

                   outside of attention            inside of attention

                     all channels                heads 0, 1      heads 2, 3
    tokens 0..7    [    rank 0    ]            [           ]   [           ]
    tokens 8..15   [    rank 1    ]            [   rank 0  ]   [   rank 1  ]
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from toolkit.errors import ModelError, NotExact, PlanError
from toolkit.models.diffusers_parallel_compat import (
    attention_processors,
    is_parallel,
    sequence_hooks,
    sharing,
    ulysses_config,
    unshared_backends,
)
from toolkit.models.protocols import Transformer
from toolkit.models.transformers.transformer_entry import Arguments, Sequences
from toolkit.models.transformers.transformer_table import TRANSFORMER_ENTRIES, entry_of


def check_sequence(transformer: nn.Module, parts: int) -> None:
    """Refuse a transformer whose sequence cannot be shared.

    Args:
        transformer: The whole model.
        parts: The number of ranks that share a sequence.

    Raises:
        ModelError: If nothing is known of how its class shares a sequence, it shares already, or its attention cannot.
        PlanError: If the number of its heads is not divisible by ``parts``.

    Example:
        >>> from toolkit.models.transformers.transformer_census import transformer
        >>> check_sequence(transformer("Wan").build(), 2)
    """
    name = type(transformer).__name__
    _rule_of(transformer, parts)
    if is_parallel(transformer):
        raise ModelError(f"{name} is parallel already: load it again, without enable_parallelism.")
    heads = _config(transformer).num_attention_heads
    if heads % parts:
        raise PlanError(
            f"sp={parts} for {name}, which has {heads} heads: every rank takes the same number of heads for its "
            f"attention. Use a divisor of {heads}."
        )
    unshared = unshared_backends(attention_processors(transformer))
    if unshared:
        raise ModelError(
            f"{name} computes attention with {unshared[0]!r}, which cannot share a sequence: call "
            "transformer.set_attention_backend('native')."
        )


class SharedSequence:
    """Shares the sequence of a transformer's calls among ranks, for the length of each call.

    Args:
        transformer: A transformer whose class has an entry with ``sequence``. Between calls it is as it was found.
        mesh: The ranks, as a one-dimensional ``DeviceMesh``. All of them make the same calls.
        device: The device that the transformer computes on.

    Raises:
        ModelError: If its sequence cannot be shared.
        PlanError: If its heads cannot.
    """

    def __init__(self, transformer: nn.Module, mesh: Any, device: Any) -> None:
        self.parts: int = mesh.size()
        check_sequence(transformer, self.parts)
        self.transformer, self.rule = transformer, _rule_of(transformer, self.parts)
        self._config = ulysses_config(mesh, device)
        self._signature = inspect.signature(transformer.forward)
        # Made once and put on for each call: compiled layers recompile when a hook is another object.
        self._hooks = sequence_hooks(transformer, self._config)

    @contextmanager
    def __call__(self, args: tuple[Any, ...], kwargs: Arguments) -> Iterator[None]:
        """Share the sequence of one call with these arguments.

        Raises:
            PlanError: If the number of tokens is not divisible by the number of ranks, or text has fewer tokens than
                there are ranks.
            NotExact: If diffusers would cut a mask in the wrong places.
        """
        # Read by diffusers inside attention: with equal parts it knows all sizes, else ranks tell each other theirs.
        shared = self._config.context_parallel_config
        shared.ulysses_anything = self._uneven(self._signature.bind(*args, **kwargs).arguments)
        processors = attention_processors(self.transformer)
        with sharing(processors, self._config, hooks=self._hooks):
            yield

    def _uneven(self, call: Arguments) -> bool:
        """Tell whether text has to be cut in unequal parts; then ranks tell each other their sizes."""
        name, rule = type(self.transformer).__name__, self.rule
        self._check_arguments(name, call)
        lengths = rule.lengths(self.transformer, call)
        tokens = lengths["hidden_states"]
        if tokens % self.parts:
            raise PlanError(
                f"hidden_states has {tokens} tokens, which is not divisible by sp={self.parts}: every rank takes the "
                f"same number. Use sp={math.gcd(tokens, self.parts)}, or another size or number of frames."
            )
        text = lengths.get("encoder_hidden_states", self.parts)
        if text < self.parts:
            raise PlanError(
                f"encoder_hidden_states has {text} tokens, fewer than sp={self.parts} ranks: use a lower sp."
            )
        uneven = {what: length for what, length in lengths.items() if length % self.parts}
        if uneven and self.parts > 2 and rule.mask is not None and call.get(rule.mask) is not None:
            # diffusers pads each rank's part and joins them with the padding in between, then cuts off the end only.
            # With two ranks the one padding is at the end, where it belongs.
            raise NotExact(
                f"{name} with {rule.mask} and {uneven} tokens, which is not divisible by sp={self.parts}: diffusers "
                "cuts masks correctly for two ranks only. Use sp=2, or one prompt per call, which needs no mask."
            )
        return bool(uneven)

    def _check_arguments(self, name: str, call: Arguments) -> None:
        """Refuse arguments that would not be shared, or not as diffusers' hooks expect them."""
        rule = self.rule
        if rule.refused is not None and call.get(rule.refused) is not None:
            raise NotExact(f"{name} with {rule.refused} does not share its sequence: leave it out, or use sp=1.")
        for ids in ("img_ids", "txt_ids") if rule.positions else ():
            # Hooks leave ids with another number of dims whole, with no more than a line in the log.
            if call[ids].ndim != rule.positions:
                raise PlanError(
                    f"{ids} has shape {tuple(call[ids].shape)}: with sp={self.parts}, {name} needs it with "
                    f"{rule.positions} dims, as its pipeline makes it."
                )


def _rule_of(transformer: nn.Module, parts: int) -> Sequences:
    """How a class shares its sequence."""
    entry = entry_of(type(transformer))
    if entry is None or entry.sequence is None:
        served = [cls for cls, known in TRANSFORMER_ENTRIES.items() if known.sequence is not None]
        raise ModelError(
            f"{type(transformer).__name__} cannot share its sequence (sp={parts}): only {', '.join(served)} are known "
            "to. Use sp=1, and tp or more stages instead."
        )
    return entry.sequence


def _config(transformer: Transformer) -> Any:
    return transformer.config
