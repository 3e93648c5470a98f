"""Sphinx's settings: ``make docs`` builds the site without a network, and a warning is an error."""

from __future__ import annotations

import json
import re
import shutil
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.pycode import ModuleAnalyzer

from toolkit.about import __version__

HERE = Path(__file__).parent
PLOTLY = "application/vnd.plotly.v1+json"

project = "toolkit"
version = release = __version__
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


def copy_notebooks(app: Sphinx, config: Config) -> None:
    """Copy the notebooks here: Sphinx takes pages from below this folder only."""
    (HERE / "notebooks").mkdir(exist_ok=True)
    wanted = {notebook.name: notebook for notebook in HERE.parent.glob("notebooks/*.ipynb")}
    for old in HERE.glob("notebooks/*.ipynb"):
        if old.name not in wanted:
            old.unlink()
    for notebook in wanted.values():
        shutil.copy2(notebook, HERE / "notebooks")  # with its time, so that a page is not made again for nothing


def mend_links(app: Sphinx, name: str, source: list[str]) -> None:
    """Let links that are right in the repository be right in the site, where the notebooks lie below the pages."""
    if not name.startswith("notebooks/"):
        source[0] = re.sub(r"\]\((?:\.\./)((?:\.\./)*notebooks/\w+\.ipynb)", r"](\1", source[0])
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = "".join(cell["source"]).replace("](../docs/", "](../")
    source[0] = json.dumps(notebook)


def show_figures(app: Sphinx, name: str, source: list[str]) -> None:
    """Turn plotly figures of notebooks into HTML for figures.js, with the stored still where scripts do not run."""
    if not name.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if PLOTLY in output.get("data", {}):
                output["data"] = {"text/html": _figure(output["data"]), "text/plain": output["data"]["text/plain"]}
    source[0] = json.dumps(notebook)


def _figure(data: dict[str, Any]) -> str:
    # "</" would end the script; JSON reads "<\/" as the same.
    figure = json.dumps({key: data[PLOTLY].get(key, []) for key in ("data", "layout", "frames")}).replace("</", "<\\/")
    says = escape("".join(data["text/plain"]), quote=True)
    return (
        f'<div class="plotly-figure" role="img" aria-label="{says}"><script type="application/json">{figure}</script>'
        f"<noscript>{''.join(data['text/html'])}</noscript></div>"
    )


def one_signature(app: Sphinx) -> None:
    """Show the calls of a cluster once: their overloads differ only in what ``block`` makes them return."""
    analyzer = ModuleAnalyzer.for_module("toolkit.cluster.cluster")
    analyzer.analyze()
    analyzer.overloads.clear()


def keep_sentences(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Keep napoleon from reading the first sentence of a property as "type: description" if it has a colon."""
    if what == "property":
        lines[:0] = [".. A comment, which is not shown and has no colon in napoleon's sense", ""]


def copy_plotly(app: Sphinx, error: Exception | None) -> None:
    """Put plotly's own script beside the pages; it comes with the package, so nothing is fetched."""
    if error is None and app.builder.format == "html":
        shutil.copy(str(files("plotly") / "package_data" / "plotly.min.js"), app.outdir / "_static")


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("config-inited", copy_notebooks)
    app.connect("builder-inited", one_signature)
    app.connect("source-read", mend_links)
    app.connect("source-read", show_figures)
    app.connect("autodoc-process-docstring", keep_sentences, priority=400)
    app.connect("build-finished", copy_plotly)
