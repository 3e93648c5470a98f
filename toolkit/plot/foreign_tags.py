"""The markup in a figure's texts: the few tags that its own code writes, and none that came with a name or a value.

plotly.js shows an unknown tag as text, but a figure's JSON is drawn by other programs, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

_FOREIGN = re.compile(r"<(?=[a-zA-Z/!?])(?!/?(?:b|i|sub|sup|extra)>|br ?/?>)")
"""The start of a tag that no figure of the toolkit uses. A sign before a space or a digit starts none."""


def without_markup(value: Any) -> Any:
    """A trace, a part of a layout or a text, in which every tag but those of the toolkit's figures is plain text.

    Example:
        >>> without_markup({"name": "<script>alert(1)</script>", "hovertext": ["<b>row 1</b><br>a < b"], "x": [1.5]})
        {'name': '&lt;script>alert(1)&lt;/script>', 'hovertext': ['<b>row 1</b><br>a < b'], 'x': [1.5]}
    """
    if isinstance(value, str):
        return _FOREIGN.sub("&lt;", value) if "<" in value and not value.startswith("data:") else value
    if isinstance(value, Mapping):
        return {key: without_markup(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_markup(item) for item in value]
    if isinstance(value, np.ndarray | pd.Series) and value.dtype.kind not in "biufcmM":
        cells = np.asarray(value, dtype=object)
        return np.array([without_markup(item) for item in cells.flat], dtype=object).reshape(cells.shape)
    return value
