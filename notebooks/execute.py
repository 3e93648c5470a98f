"""Run a notebook headless, save it as HTML, and print what was printed last in it: ``make demo``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from store_outputs import static


def main(path: Path, folder: Path) -> None:
    """Execute the notebook at ``path`` and write its HTML into ``folder``."""
    notebook = nbformat.read(path, as_version=4)
    begin = time.monotonic()
    code = [place for place, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

    def tell(cell: Any, cell_index: int) -> None:
        if cell_index in code:
            first = cell.source.partition("\n")[0]
            print(
                f"{time.monotonic() - begin:4.0f} s  cell {code.index(cell_index) + 1} of {len(code)}: {first}",
                flush=True,
            )

    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=tell,
    )
    client.store_widget_state = False
    client.execute()
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{path.stem}.html"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := static(output))]
    page.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    texts = ("".join(output.get("text", "") for output in cell.get("outputs", ())) for cell in reversed(notebook.cells))
    print(next(filter(None, texts), ""), end="")
    print(f"{path.name} ran in {time.monotonic() - begin:.0f} s; open {page}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path("build"))
