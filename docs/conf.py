"""Sphinx's settings: ``make docs`` builds the site without a network, and a warning is an error."""

from __future__ import annotations

import json
import shutil
import tomllib
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).parent
PLOTLY = "application/vnd.plotly.v1+json"

project = "toolkit"
version = release = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["version"]
html_title = f"toolkit {version}"
html_copy_source = html_show_copyright = False

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build", "notebooks/.ipynb_checkpoints"]

# Pages are Markdown. Notebooks are shown as they were saved: nothing is executed here, `make notebooks` does that.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True

# The reference is made from docstrings in Google's style. Types stand in the list of parameters, in short form.
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["toolkit.css"]
html_js_files = [("figures.js", {"defer": "defer"})]
html_theme_options = {"top_of_page_buttons": []}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def show_figures(app: Sphinx, name: str, source: list[str]) -> None:
    """Turn the plotly figures of a notebook into HTML that figures.js draws, with the stored PNG for pages without scripts.

    A notebook's link into this folder starts from the repository's notebooks, so it is shortened, too.
    """
    if not name.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = "".join(cell["source"]).replace("](../docs/", "](../")
        for output in cell.get("outputs", []):
            if PLOTLY in output.get("data", {}):
                output["data"] = {"text/html": _figure(output["data"]), "text/plain": output["data"]["text/plain"]}
    source[0] = json.dumps(notebook)


def _figure(data: dict[str, Any]) -> str:
    # "</" would end the script; JSON reads "<\/" as the same.
    figure = json.dumps({key: data[PLOTLY][key] for key in ("data", "layout")}).replace("</", "<\\/")
    says = escape("".join(data["text/plain"]), quote=True)
    picture = "".join(data["image/png"]).replace("\n", "")
    return (
        f'<div class="plotly-figure" role="img" aria-label="{says}"><script type="application/json">{figure}</script>'
        f'<noscript><img alt="{says}" src="data:image/png;base64,{picture}"></noscript></div>'
    )


def copy_plotly(app: Sphinx, error: Exception | None) -> None:
    """Put plotly's own script beside the pages; it comes with the package, so nothing is fetched."""
    if error is None and app.builder.format == "html":
        shutil.copy(str(files("plotly") / "package_data" / "plotly.min.js"), app.outdir / "_static")


def setup(app: Sphinx) -> None:
    """Connect the two functions."""
    app.connect("source-read", show_figures)
    app.connect("build-finished", copy_plotly)
