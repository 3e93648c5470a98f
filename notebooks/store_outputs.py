"""Run notebooks and store their outputs in them, without widget state: after a change that changes what they show."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

WIDGET = "application/vnd.jupyter.widget-view+json"


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
            if cell.cell_type == "code":
                cell.outputs = [kept for output in cell.outputs if (kept := static(output))]
        notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec",)}
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)


def static(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """What of an output can be seen without the kernel that made it; None for nothing.

    A widget leaves its picture. A bar has none: saved in a notebook it stays at 0 % for ever, and the line that follows
    it says how the run went.
    """
    if output.get("name") == "stderr":
        return None
    if WIDGET in output.get("data", {}):
        del output["data"][WIDGET]
        return output if set(output["data"]) > {"text/plain"} else None
    return output


if __name__ == "__main__":
    # As in the Makefile: how much memory oneDNN needs depends on the processor's widest instructions.
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
    main([Path(argument) for argument in sys.argv[1:]])
