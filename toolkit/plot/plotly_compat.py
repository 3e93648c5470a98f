"""The names of plotly that are not public but that this package needs, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go


class BundledFigure(go.Figure):  # type: ignore[misc]
    """A plotly figure that a notebook shows only through ``_repr_mimebundle_``, which a subclass can then extend.

    IPython asks an object for several representations. plotly defines two others, which must be off:

    * ``_ipython_display_`` displays the figure itself, and IPython then never asks for the bundle. If plotly renames
      it, notebooks show no PNG and no sentence.
    * ``_repr_html_`` returns HTML that fetches plotly from the network, which nbconvert prefers to the PNG. If plotly
      renames it, exported pages show nothing offline.
    """

    _ipython_display_ = None
    _repr_html_ = None

    def plotly_bundle(
        self, include: Iterable[str] | None, exclude: Iterable[str] | None, **kwargs: Any
    ) -> dict[str, Any]:
        """The representations that plotly itself would send, as its present renderer decides.

        There is no public way to ask a renderer for its bundle without displaying it. If plotly drops the method, the
        result is empty, and the figure is sent as plotly's JSON, whatever renderer is set.
        """
        ask = getattr(go.Figure, "_repr_mimebundle_", None)
        return {} if ask is None else dict(ask(self, include, exclude, **kwargs) or {})
