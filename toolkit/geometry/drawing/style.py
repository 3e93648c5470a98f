"""The style sheet of views and drawings: rules in the colours of the page, light or dark."""

from __future__ import annotations

LIGHT = {"ink": "#1f2328", "soft": "#57606a", "paper": "#ffffff", "line": "#d0d7de", "tile": "#dde3ea"}
DARK = {"ink": "#e6edf3", "soft": "#9ea7b3", "paper": "#111111", "line": "#444c56", "tile": "#39424d"}
"""Colours by role, for pages that do not define their own."""

_HOST = {
    "ink": "--jp-content-font-color1,var(--vscode-editor-foreground",
    "soft": "--jp-content-font-color2,var(--vscode-descriptionForeground",
    "paper": "--jp-layout-color0,var(--vscode-editor-background",
}

_PAGE_RULES = """
.tk-view{color:var(--tk-ink);background:var(--tk-paper);font:13px/1.4 system-ui,sans-serif;padding:6px 8px}
.tk-view .tk-row{display:flex;flex-wrap:wrap;gap:10px 28px;align-items:flex-start;margin-top:6px}
.tk-view .tk-figure{display:block!important}.tk-view .tk-still{display:none!important}
.tk-view .tk-figure svg{max-width:100%;height:auto;font:11px system-ui,sans-serif}
.tk-view .tk-soft,.tk-view p{color:var(--tk-soft)}.tk-view p{margin:6px 0 0;max-width:62em}
.tk-view table{border-collapse:collapse;margin:0;border:0;font-size:12px;font-variant-numeric:tabular-nums}
.tk-view table tr{background:none}.tk-view table tr:hover{background:none}
.tk-view table th,.tk-view table td{padding:2px 8px;text-align:right;border:0;border-bottom:1px solid var(--tk-line)}
.tk-view table th{color:var(--tk-soft);font-weight:500;vertical-align:bottom}
.tk-view table .tk-word{text-align:left;white-space:pre-line}
.tk-view .tk-chip{display:inline-block;min-width:1.3em;padding:0 4px;border-radius:3px}
.tk-view .tk-chip{text-align:center;font-weight:600}
.tk-view .tk-bar{min-width:5em;background:linear-gradient(90deg,var(--tk-tile) var(--tk-part),transparent 0)}
"""
DRAWING_RULES = """
.tk-view .tk-label{fill:var(--tk-ink)}.tk-view .tk-name{font-weight:600}.tk-view .tk-tile{fill:var(--tk-tile)}
.tk-view .tk-over{pointer-events:none;fill:none}.tk-view .tk-cut{stroke:var(--tk-paper);stroke-width:2}
.tk-view .tk-torn{stroke:var(--tk-ink);stroke-width:2;stroke-dasharray:2 3}
.tk-view .tk-hatch{stroke:var(--tk-ink);stroke-opacity:.55;stroke-width:.7}.tk-view .tk-faint{opacity:.4}
.tk-view .tk-halo{stroke:var(--tk-paper);stroke-width:5}.tk-view .tk-box{fill:none;stroke:var(--tk-ink);stroke-width:2}
.tk-view .tk-number{paint-order:stroke;stroke-width:3px;stroke-linejoin:round;text-anchor:middle;font-weight:600}
.tk-view .tk-number{pointer-events:none}.tk-view .tk-index{fill:var(--tk-ink);stroke:var(--tk-tile)}
.tk-view .tk-curve{fill:none;stroke-width:2}.tk-view .tk-dots{stroke-width:7;stroke-linecap:round}
.tk-view .tk-axis{fill:none;stroke:var(--tk-soft)}
"""
"""The rules of what is inside a drawing."""


def _theme(colours: dict[str, str]) -> str:
    return ";".join(
        f"--tk-{role}:" + (f"var({_HOST[role]},{colour}))" if role in _HOST else colour)
        for role, colour in colours.items()
    )


def _style() -> str:
    """The rules: light by default, dark if the system asks for it, and above both the page's own theme."""
    marks = "[data-jp-theme-light={}] .tk-view,.vscode-{} .tk-view,[data-theme={}] .tk-view,[theme={}] .tk-view"
    light, dark = marks.format("true", *["light"] * 3), marks.format("false", *["dark"] * 3)
    return (
        f".tk-view{{{_theme(LIGHT)}}}@media(prefers-color-scheme:dark){{.tk-view{{{_theme(DARK)}}}}}"
        f"{light}{{{_theme(LIGHT)}}}{dark}{{{_theme(DARK)}}}{joined(_PAGE_RULES)}{joined(DRAWING_RULES)}"
    )


def joined(rules: str) -> str:
    """Rules without line breaks."""
    return rules.replace("\n", "")


STYLE = _style()
"""The style sheet, all of it under the class ``tk-view``."""
