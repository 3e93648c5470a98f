"""Controls, and attributes of an explorer that read and move them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from ipywidgets import Dropdown, FloatSlider, IntSlider, Layout

from toolkit.errors import PlanError
from toolkit.geometry.checks import check_counts

T = TypeVar("T")

_LOOK = {"style": {"description_width": "6.5em"}, "tabbable": True}
_WIDTH = "23em"


class HasControls(Protocol):
    """An object with settings."""

    @property
    def controls(self) -> Mapping[str, Any]:
        """The controls, by name."""


class Setting(Generic[T]):
    """An attribute tied to the control of the same name: reading returns its value, assigning moves it.

    Raises:
        PlanError: If the value is outside the control's range, or the control has no effect now.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...

    @overload
    def __get__(self, owner: HasControls, kind: type) -> T: ...

    def __get__(self, owner: HasControls | None, kind: type) -> Self | T:
        if owner is None:
            return self
        value: T = owner.controls[self._name].value
        return value

    def __set__(self, owner: HasControls, value: T) -> None:
        control = owner.controls[self._name]
        if control.disabled:
            raise PlanError(f"{self._name}={value!r} would have no effect now. {control.tooltip}")
        _check(self._name, control, value=value)
        control.value = value


def count(name: str, value: int, *, most: int, hint: str, least: int = 1) -> IntSlider:
    """A slider over whole numbers.

    Args:
        name: Label before the slider.
        value: Initial value.
        most: Right end.
        hint: Explanation shown when the pointer rests on the slider.
        least: Left end.

    Raises:
        PlanError: If the initial value is outside the slider's range.
    """
    if least:
        check_counts(**{name: value})
    slider = IntSlider(least, least, most, description=name, tooltip=hint, layout=Layout(width=_WIDTH), **_LOOK)
    _check(name, slider, value=value)
    slider.value = value
    return slider


def quantity(name: str, value: float, *, most: float, step: float, hint: str) -> FloatSlider:
    """A slider over numbers from 0 up."""
    slider = FloatSlider(
        0, min=0, max=most, step=step, description=name, tooltip=hint, layout=Layout(width=_WIDTH), **_LOOK
    )
    _check(name, slider, value=value)
    slider.value = value
    return slider


def choice(name: str, options: Sequence[str], *, value: str, hint: str) -> Dropdown:
    """A list to choose from."""
    dropdown = Dropdown(options=list(options), description=name, tooltip=hint, layout=Layout(width=_WIDTH), **_LOOK)
    _check(name, dropdown, value=value)
    dropdown.value = value
    return dropdown


def _check(name: str, control: Dropdown | IntSlider | FloatSlider, *, value: object) -> None:
    """Refuse values that the control would change silently: sliders clamp values beyond their ends."""
    if isinstance(control, Dropdown):
        if value not in control.options:
            raise PlanError(f"{name}={value!r}: must be one of {', '.join(control.options)}.")
        return
    kinds = (int,) if isinstance(control, IntSlider) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise PlanError(f"{name}={value!r}: must be {'an int' if kinds == (int,) else 'a number'}.")
    if not control.min <= value <= control.max:
        raise PlanError(f"{name}={value}: must be from {control.min} to {control.max}, the ends of the slider.")
