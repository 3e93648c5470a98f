"""Searches: a sampler chooses points by earlier results. Needs optuna, which is loaded when a search starts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any, Literal, get_args

from toolkit.about import how_to_install
from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry.checks import check_choice, check_counts, check_ints, check_tuple
from toolkit.sweeps.points import Point, Value, check_names, values_of
from toolkit.sweeps.space import Tell
from toolkit.sweeps.store import Row, Store

Direction = Literal["minimize", "maximize"]
MAX_REPEATS = 100
"""How many known points in a row a sampler may ask for before the search ends, having nothing new to ask for."""


@dataclass(frozen=True)
class Search:
    """A space and the objectives to optimise in it. Made by :func:`search`.

    Attributes:
        space: Values by parameter: a list, a range of integers, or one of optuna's distributions.
        points: Number of points to run in all.
        wanted: ``"minimize"`` or ``"maximize"`` for each objective.
        seed: Seed of the sampler.
        sampler: One of optuna's samplers; None means optuna's default, seeded.
    """

    space: Mapping[str, Any]
    points: int
    wanted: Mapping[str, Direction]
    seed: int = 0
    sampler: Any = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.space, Mapping):
            raise PlanError(f"space={self.space!r}: must map each parameter to its values.")
        check_names(self.space)
        for name, values in self.space.items():
            _choices(name, values)  # refuses what is no list of values
        check_counts(points=self.points)
        check_ints(0, seed=self.seed)
        if not self.wanted:
            raise PlanError("a search needs an objective: name at least one measure.")
        for name, direction in self.wanted.items():
            check_choice(f"direction of {name!r}", direction, choices=get_args(Direction))

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, in the order of the table's columns."""
        return tuple(self.space)

    @property
    def total(self) -> int:
        """The largest possible number of points; a space of choices may hold fewer than requested."""
        counts = [
            len(values) if isinstance(values, range) else len(_choices(name, values) or range(self.points))
            for name, values in self.space.items()
        ]
        return min(self.points, prod(counts))

    def study(self, store: str | Path) -> Any:
        """The optuna study of this search, for optuna's own plots and analyses.

        Args:
            store: The store of the sweep; the study is kept beside it, in ``<store>.study``.

        Raises:
            ToolkitError: If optuna is not installed, or the study has other objectives.
        """
        optuna = _optuna()
        study = optuna.create_study(
            storage=f"sqlite:///{store}.study",
            study_name="sweep",
            sampler=self.sampler or optuna.samplers.TPESampler(seed=self.seed),
            directions=list(self.wanted.values()),
            load_if_exists=True,
        )
        wanted = study.user_attrs.get("wanted", dict(self.wanted))
        if wanted != dict(self.wanted):
            raise ToolkitError(
                f"store={str(store)!r}: its study optimises {wanted}, not {dict(self.wanted)}. Use another store."
            )
        study.set_user_attr("wanted", wanted)
        return study

    def rounds(self, store: Store) -> Iterator[tuple[Point, Tell]]:
        """Ask for points until there are enough.

        The store has the last word: if the sampler asks for a known point again, the point is not run again, and the
        study is told the known result.
        """
        if store.path is None:
            raise PlanError("a search keeps what it learned beside its store, so it needs one: give store= a file.")
        study, distributions = self.study(store.path), self._distributions()
        self._settle(study, store)
        ended, repeats = len(self.rows(store)), 0
        while ended < self.total and repeats < MAX_REPEATS:
            trial = study.ask(distributions)
            point = self._point(trial.params)
            known = store.find(point)
            yield point, partial(self._tell, study, trial.number)
            new = known is None or known.status == "running"
            ended, repeats = (ended + 1, 0) if new else (ended, repeats + 1)

    def rows(self, store: Store) -> list[Row]:
        """All points that have ended, in the order in which they were started."""
        return [row for row in store.rows() if row.status != "running"]

    def _settle(self, study: Any, store: Store) -> None:
        """Tell the study about points that an earlier process left in flight; ask again for those that did not end."""
        trial_state = _optuna().trial.TrialState
        for trial in study.get_trials(deepcopy=False, states=(trial_state.RUNNING,)):
            row = store.find(self._point(trial.params))
            if row is not None and row.status != "running":
                self._tell(study, trial.number, row)
            else:
                study.tell(trial.number, state=trial_state.FAIL)
                study.enqueue_trial(trial.params)

    def _tell(self, study: Any, number: int, row: Row) -> None:
        values = {name: row.measures.get(name) for name in self.wanted}
        wrong = [name for name, value in values.items() if not isinstance(value, int | float) or math.isnan(value)]
        if row.status == "done" and not wrong:
            study.tell(number, list(values.values()))
            return
        study.tell(number, state=_optuna().trial.TrialState.FAIL)
        if row.status == "done":
            raise ToolkitError(
                f"the objective {wrong[0]!r} is {values[wrong[0]]!r} at {dict(row.shown)}, but must be a number: the "
                f"function returned {', '.join(row.measures)}."
            )

    def _point(self, chosen: Mapping[str, Any]) -> Point:
        """The point of a trial, from optuna's parameters, which are words and numbers only."""
        return Point({name: self._value(name, chosen[name]) for name in self.space})

    def _value(self, name: str, chosen: Any) -> Value:
        choices = _choices(name, self.space[name])
        if choices is None:
            return Value.make(name, chosen)
        return next(value for value in choices if _same(value.shown, chosen))

    def _distributions(self) -> dict[str, Any]:
        return {name: _distribution(name, values) for name, values in self.space.items()}


def search(
    space: Mapping[str, Any],
    *,
    points: int,
    objective: str | Sequence[str] = "seconds",
    direction: Direction | Sequence[Direction] = "minimize",
    seed: int = 0,
    sampler: Any = None,
) -> Search:
    """A space for :func:`sweep` in which optuna chooses the points. Needs ``pip install 'difftiles[optuna]'``.

    Args:
        space: Values by parameter: a list (or named values) for a choice, a ``range`` for integers, or one of optuna's
            distributions, such as ``FloatDistribution(1e-4, 1e-1, log=True)``.
        points: Number of points to run in all, including those in the store; fewer if the space is smaller.
        objective: The measure to optimise, or several.
        direction: ``"minimize"`` or ``"maximize"``; one for each objective if there are several.
        seed: Seed of the sampler.
        sampler: One of optuna's samplers; None means its tree-structured Parzen estimator.

    Raises:
        PlanError: If there are no parameters or points, or a direction is unknown.

    Example:
        >>> search({"tile": range(8, 33, 2), "blend": ["linear", "cosine"]}, points=20, objective="psnr",
        ...        direction="maximize").wanted
        {'psnr': 'maximize'}
    """
    for name, words in (("objective", objective), ("direction", direction)):
        if not isinstance(words, str):
            check_tuple(
                name, tuple(words) if isinstance(words, Sequence) else words, kind=str, what="words, or one word"
            )
    names = (objective,) if isinstance(objective, str) else tuple(objective)
    ways = (direction,) * len(names) if isinstance(direction, str) else tuple(direction)
    if not names or len(names) != len(ways) or len(set(names)) < len(names):
        raise PlanError(
            f"objective={objective!r}, direction={direction!r}: give different objectives, and one direction for each."
        )
    return Search(space, points, dict(zip(names, ways, strict=True)), seed, sampler)


def _choices(name: str, values: Any) -> list[Value] | None:
    """The values of a choice; None for a range or a distribution."""
    if isinstance(values, range) or type(values).__module__.startswith("optuna."):
        return None
    return values_of(name, values)


def _distribution(name: str, values: Any) -> Any:
    distributions = _optuna().distributions
    choices = _choices(name, values)
    if choices is not None:
        shown = [value.shown for value in choices]
        if len({json.dumps(one) for one in shown}) < len(shown):
            raise PlanError(
                f"two values of {name} look the same in a table: name them, {name}={{'one': ..., 'other': ...}}."
            )
        return distributions.CategoricalDistribution(shown)
    if not isinstance(values, range):
        return values
    if values.step < 1 or not values:
        raise PlanError(f"{name}={values!r}: give a range with a positive step that contains at least one integer.")
    return distributions.IntDistribution(values[0], values[-1], step=values.step)


def _same(shown: Any, chosen: Any) -> bool:
    return type(shown) is type(chosen) and shown == chosen


def _optuna() -> Any:
    """The optuna module, which only searches need."""
    try:
        return import_module("optuna")
    except ModuleNotFoundError as error:
        raise ToolkitError(
            f"a search needs {error.name}, which is not installed: {how_to_install('optuna')}, or give a grid "
            "or a list of points instead."
        ) from error
