"""Colour scales as RGB values, for pictures drawn without plotly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plotly.colors import sample_colorscale


def sampled(scale: str | list[list[Any]], places: Sequence[float]) -> list[tuple[int, int, int]]:
    """Red, green and blue (0 to 255) at the given positions (0 to 1) of a colour scale, by name or in plotly's form.

    Example:
        >>> sampled("Viridis", [0.0, 1.0])
        [(68, 1, 84), (253, 231, 37)]
    """
    found = sample_colorscale(scale, list(places), colortype="tuple")
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in found]
