"""The figure that every plot function returns."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from html import escape
from json import loads
from os import PathLike
from typing import Any

import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.plot.foreign_tags import without_markup
from toolkit.plot.plotly_compat import BundledFigure
from toolkit.plot.static import png
from toolkit.plot.theme import ThemeName, template
from toolkit.runs.written import write

PLOTLY_MIME = "application/vnd.plotly.v1+json"
WIDTH = 800
"""Pixels across a picture, and across the still of a chart, which on a page is as wide as there is room."""

ABOVE = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom"}
"""A legend above the data, for figures that need their full width."""


class Figure(BundledFigure):
    """A plotly figure that carries its own picture, a sentence that describes it, and the table it was drawn from.

    In a kernel, plotly shows a figure as plotly's JSON only, so pages made by nbconvert, notebook viewers of
    repositories and e-mails show nothing. This figure adds a still, drawn without a browser, and the sentence as plain
    text. The still is HTML with a PNG in it: beside a bare PNG, JupyterLab shows plotly's figure only when the mouse
    comes near. Change it as any plotly figure: ``update_layout``, ``add_trace``, ``write_html``.
    """

    def __init__(self, data: Any = None, *args: Any, table: pd.DataFrame | None = None, **kwargs: Any) -> None:
        super().__init__(data, *args, **kwargs)
        self._table: pd.DataFrame | None = data._table if isinstance(data, Figure) else table

    def __reduce__(self) -> tuple[Any, ...]:
        made, arguments, *_ = super().__reduce__()
        return made, arguments, {"_table": self._table}

    def describe(self) -> str:
        """One sentence that says what the figure shows; the title if ``layout.meta`` has no description."""
        meta = self.layout.meta
        if isinstance(meta, Mapping) and "description" in meta:
            return str(meta["description"]).replace("&lt;", "<")
        return str(self.layout.title.text or "A figure without a title.")

    def to_dataframe(self) -> pd.DataFrame:
        """The data as a table, with units in the column names.

        The table is not part of plotly's JSON, so it does not make a saved figure larger. Copies, pickles and
        ``Figure(figure)`` keep it, and changes to the figure do not change it. A figure made from JSON, HTML or a
        notebook has no table.

        Raises:
            ToolkitError: If this figure has no table.
        """
        if self._table is None:
            raise ToolkitError(
                "this figure has no table, because plotly rebuilt it or it was read from JSON: draw it again with "
                "tk.plot."
            )
        return self._table.copy()

    def to_png(self) -> bytes:
        """The figure as a PNG, transparent if its paper is; the same figure always gives the same bytes."""
        return png(self)

    def to_img(self) -> str:
        """The PNG as an HTML ``img`` with :meth:`describe` as its text; on a narrow page it shrinks."""
        data, width = b64encode(self.to_png()).decode(), int(self.layout.width or WIDTH)
        return (
            f'<img src="data:image/png;base64,{data}" alt="{escape(self.describe())}" width="{width}" '
            'style="max-width:100%;height:auto">'
        )

    def write_html(self, file: Any, *args: Any, **kwargs: Any) -> None:
        """As plotly's, but the file is written whole or not at all, and errors name it and the remedy."""
        _save(super().write_html, file, args, kwargs)

    def write_json(self, file: Any, *args: Any, **kwargs: Any) -> None:
        """As plotly's, and safely as :meth:`write_html`."""
        _save(super().write_json, file, args, kwargs)

    def write_image(self, file: Any, *args: Any, **kwargs: Any) -> None:
        """As plotly's, which needs a browser and kaleido, and safely as :meth:`write_html`; see :meth:`to_png`."""
        _save(super().write_image, file, args, kwargs)

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        bundle = self.plotly_bundle(include, exclude, **kwargs)
        bundle["text/plain"] = self.describe()
        # Some renderers, such as Colab's, make plotly send HTML; a still beside it would be a second copy.
        if "text/html" not in bundle:
            bundle.setdefault(PLOTLY_MIME, loads(self.to_json()))
            bundle["text/html"] = self.to_img()
        kept = set(bundle) if include is None else set(include)
        return {mime: data for mime, data in bundle.items() if mime in kept - set(exclude or ())}


def _save(writes: Callable[..., None], file: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Let plotly write a figure; what is no path is its own business, such as an open file."""
    if not isinstance(file, str | PathLike) or kwargs.get("auto_open"):
        writes(file, *args, **kwargs)
        return
    write(file, lambda name: writes(name, *args, **kwargs), private=False)


def make(
    traces: Iterable[Mapping[str, Any]],
    layout: Mapping[str, Any],
    *,
    title: str,
    description: str,
    height: int,
    theme: ThemeName,
    table: pd.DataFrame,
    width: int | None = None,
) -> Figure:
    """A figure with the toolkit's theme, size and title, in which no name or value is read as markup.

    Args:
        traces: Plotly traces as mappings.
        layout: What this figure adds to the layout.
        title: One line that says what the figure shows.
        description: One sentence for readers who cannot see the figure.
        height: Height in pixels.
        theme: ``"neutral"`` is readable on light and dark pages.
        table: The data drawn, for :meth:`Figure.to_dataframe`, with units in the column names.
        width: Width in pixels, for pictures whose height follows from it; None: as wide as the page allows.
    """
    common = {
        "template": template(theme),
        **({"autosize": True} if width is None else {"width": width}),
        "height": height,
        "margin": {"l": 64, "r": 24, "t": 56, "b": 52},
        "title": {
            "text": without_markup(title),
            "x": 0.01,
            "xanchor": "left",
            "font": {"size": 15},
            "yanchor": "middle",
            "y": 1 - 24 / height,
        },
        "meta": {"description": without_markup(description)},
        "hovermode": "closest",
    }
    drawn = [without_markup(trace) for trace in traces]
    return Figure(data=drawn, layout={**common, **without_markup(layout)}, table=table.reset_index(drop=True))


def nothing(text: str) -> dict[str, Any]:
    """An annotation for the middle of a figure that has nothing to draw."""
    middle = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    return {**middle, "text": text, "showarrow": False, "font": {"size": 15}}
