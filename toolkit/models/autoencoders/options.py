"""The options of a decode or an encode, as one value that every layer passes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import torch

from toolkit.errors import PlanError
from toolkit.geometry.checks import is_int, shown
from toolkit.models.autoencoders.recipe import Recipe

Rules = Mapping[Any, Callable[..., Any] | str]

NAMED_RULES = {("normalize", "vecdot")}
"""Rules that come with the toolkit and change last bits: the operation, and the name by which a call asks for one."""


class OptionFields(TypedDict, total=False):
    """The fields of :class:`Options` as keywords, for functions that take ``**changes: Unpack[OptionFields]``."""

    arguments: Mapping[str, Any] | None
    seed: int | None
    autocast: torch.dtype | None
    recipe: Recipe | None
    norm_passes: int
    rules: Rules | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a model's decode or encode is called, apart from its input and the plan.

    ``Cluster.decode``, ``Cluster.encode`` and their counterparts in ``tk.distributed`` take the fields as keywords
    (``seed=3``), or a value made once (``options=tk.Options(seed=3)``), or both: then keywords replace fields.

    Attributes:
        arguments: Further arguments of the model's call, by name (LTX: ``temb``; TemporalDecoder: ``num_frames``).
        seed: The seed for what the model draws from the global generators during the call. Their state is restored
            after it. None leaves them alone.
        autocast: The dtype of ``torch.autocast`` during the call. None: whatever is on where the call is made.
        recipe: How tiles of the model are computed, for a class that the toolkit does not know.
        norm_passes: The number of extra passes over all tiles that gather the statistics of GroupNorm before the
            tiles are computed. Each tile is then normalised as a part of the whole, so colours shift less from tile to
            tile. How much less depends on the picture; each pass takes as long as a run without it.
        rules: Further rules for operations, by function or name, for exact shards. A rule is a function, or the name of
            one that comes with the toolkit: ``{"normalize": "vecdot"}`` computes Wan's normalisation several times
            faster on a CPU. It is not the default, because it changes last bits. In narrow dtypes it changes nothing.

    Raises:
        PlanError: If a field has a value that it cannot have.

    Example:
        >>> options = Options(seed=3)
        >>> options.norm_passes
        0
        >>> Options(norm_passes=-1)
        Traceback (most recent call last):
        toolkit.errors.PlanError: norm_passes=-1: must be an int of at least 0.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    autocast: torch.dtype | None = None
    recipe: Recipe | None = None
    norm_passes: int = 0
    rules: Rules | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.arguments, Mapping) or not all(isinstance(name, str) for name in self.arguments):
            raise PlanError(f"arguments={self.arguments!r}: must be a mapping from names to values.")
        if self.seed is not None and not is_int(self.seed):
            raise PlanError(f"seed={shown(self.seed)}: must be an int, or None to leave the generators alone.")
        if self.seed is not None and not -(2**63) <= self.seed < 2**64:
            raise PlanError(f"seed={shown(self.seed)}: torch takes seeds from -2**63 to 2**64 - 1.")
        if self.autocast is not None and not _is_floating(self.autocast):
            raise PlanError(f"autocast={self.autocast!r}: must be a floating-point torch.dtype, or None.")
        if self.recipe is not None and not isinstance(self.recipe, Recipe):
            raise PlanError(f"recipe={self.recipe!r}: must be a Recipe, or None for the toolkit's own.")
        if not is_int(self.norm_passes) or self.norm_passes < 0:
            raise PlanError(f"norm_passes={self.norm_passes!r}: must be an int of at least 0.")
        if self.rules is not None:
            _check_rules(self.rules)

    @classmethod
    def of(cls, options: Options | None, changes: OptionFields) -> Options:
        """Combine an ``options=`` argument with keywords that replace its fields.

        Args:
            options: The value to start from; None: the defaults.
            changes: Fields to replace, as collected by ``**changes``.

        Raises:
            TypeError: If a keyword is not a field.
            PlanError: If ``options`` is not an :class:`Options`, or a field has a value that it cannot have.

        Example:
            >>> Options.of(Options(seed=3, norm_passes=1), {"seed": 4})
            Options(arguments={}, seed=4, autocast=None, recipe=None, norm_passes=1, rules=None)
            >>> Options.of(None, {"sed": 4})
            Traceback (most recent call last):
            TypeError: unexpected keyword argument 'sed': use arguments, seed, autocast, recipe, norm_passes or rules
        """
        if options is not None and not isinstance(options, Options):
            raise PlanError(f"options={options!r}: must be a tk.Options, or None for the defaults.")
        # Functions that take **changes accept any keyword, so what Python would have refused is refused here.
        for name in changes:
            if name not in OptionFields.__annotations__:
                *others, last = OptionFields.__annotations__
                raise TypeError(f"unexpected keyword argument {name!r}: use {', '.join(others)} or {last}")
        fields: dict[str, Any] = dict(changes)
        if fields.get("arguments", {}) is None:  # functions that pass their own optional arguments on
            fields["arguments"] = {}
        return replace(options or cls(), **fields)


def _is_floating(value: object) -> bool:
    return isinstance(value, torch.dtype) and value.is_floating_point


def _check_rules(rules: Rules) -> None:
    if not isinstance(rules, Mapping):
        raise PlanError(f"rules={rules!r}: must be a mapping from operations (or their names) to functions.")
    for operation, rule in rules.items():
        named = isinstance(rule, str) and (operation, rule) in NAMED_RULES
        if not callable(rule) and not named:
            known = ", ".join(f"{operation!r}: {name!r}" for operation, name in sorted(NAMED_RULES))
            raise PlanError(
                f"rules: the rule for {operation!r} is {rule!r}: must be a function, or have a name: {{{known}}}."
            )
