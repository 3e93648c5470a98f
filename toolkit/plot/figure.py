"""The figure that every plot function returns."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from json import loads
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from toolkit.errors import ToolkitError
from toolkit.plot.static import png
from toolkit.plot.theme import ThemeName, template

PLOTLY_MIME = "application/vnd.plotly.v1+json"
WIDTH = 800
ABOVE = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom"}
"""A legend above the data, where the data need the width."""


class Figure(go.Figure):  # type: ignore[misc]
    """A plotly figure that carries its own picture, a sentence about it, and the table that was drawn.

    In a kernel, plotly shows a figure as plotly's JSON and nothing else: a page made by nbconvert, a
    repository's viewer and a mail stay blank. This one adds a PNG, drawn without a browser, and the sentence
    as plain text. Change it as any figure: ``update_layout``, ``add_trace``, ``write_html``.
    """

    # Plotly's own methods: the one would take the bundle's place, the other would add HTML that fetches plotly from
    # the network, and that nbconvert prefers to the PNG.
    _ipython_display_ = None
    _repr_html_ = None

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(data, *args, **kwargs)
        self._table: pd.DataFrame | None = data._table if isinstance(data, Figure) else None

    def __reduce__(self) -> tuple[Any, ...]:
        made, arguments, *_ = super().__reduce__()
        return made, arguments, {"_table": self._table}

    def describe(self) -> str:
        """One sentence that says what is seen; the title, where ``layout.meta`` holds none."""
        meta = self.layout.meta
        if isinstance(meta, Mapping) and "description" in meta:
            return str(meta["description"])
        return str(self.layout.title.text or "A figure without a title.")

    def to_dataframe(self) -> pd.DataFrame:
        """What was drawn as a table, units in the names of its columns.

        It is not part of plotly's JSON, so a saved figure is no larger for it. Copies, pickles and ``Figure(figure)``
        keep it, and changes to the figure leave it as it is; a figure made from JSON, HTML or a notebook has none.

        Raises:
            ToolkitError: where this figure has none.
        """
        if self._table is None:
            raise ToolkitError(
                "this figure has no table: plotly made it anew, or it was read from JSON; draw it by tk.plot again."
            )
        return self._table.copy()

    def to_png(self) -> bytes:
        """The figure as a PNG at its own size, the same bytes each time."""
        return png(self)

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        bundle: dict[str, Any] = dict(super()._repr_mimebundle_(include, exclude, **kwargs) or {})
        bundle["text/plain"] = self.describe()
        # Where plotly was told to send HTML (as Colab needs), a picture beside it would be a second copy.
        if "text/html" not in bundle:
            bundle.setdefault(PLOTLY_MIME, loads(self.to_json()))
            bundle["image/png"] = b64encode(self.to_png()).decode()
        kept = set(bundle) if include is None else set(include)
        return {mime: data for mime, data in bundle.items() if mime in kept - set(exclude or ())}


def make(
    traces: Iterable[Mapping[str, Any]],
    layout: Mapping[str, Any],
    *,
    title: str,
    description: str,
    height: int,
    theme: ThemeName,
    table: pd.DataFrame,
) -> Figure:
    """A figure with the toolkit's theme, size and title.

    Args:
        traces: plotly traces as mappings.
        layout: what this figure adds to the layout.
        title: one line that says what is seen.
        description: one sentence for those who cannot see it.
        height: in pixels.
        theme: ``"neutral"`` reads on light and dark pages.
        table: what is drawn, for :meth:`Figure.to_dataframe`; units in the names of its columns.
    """
    common = {
        "template": template(theme),
        "width": WIDTH,
        "height": height,
        "margin": {"l": 64, "r": 24, "t": 56, "b": 52},
        "title": {
            "text": title,
            "x": 0.01,
            "xanchor": "left",
            "font": {"size": 15},
            "yanchor": "middle",
            "y": 1 - 24 / height,
        },
        "meta": {"description": description},
        "hovermode": "closest",
    }
    figure = Figure(data=list(traces), layout={**common, **layout})
    figure._table = table.reset_index(drop=True)
    return figure


def nothing(text: str) -> dict[str, Any]:
    """An annotation for the middle of a figure that has nothing to draw."""
    middle = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    return {**middle, "text": text, "showarrow": False, "font": {"size": 15}}
