"""Run notebooks and store their outputs in them, without widget state: after a change that changes what they show."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main(paths: list[Path]) -> None:
    """Execute each notebook in place."""
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(
            notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
        )
        client.store_widget_state = False
        client.execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            # A bar saved in a notebook stays at 0 % for ever; the line that follows it says how the run went.
            if cell.cell_type == "code":
                cell.outputs = [
                    output
                    for output in cell.outputs
                    if output.get("name") != "stderr"
                    and "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
                ]
        notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec",)}
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
