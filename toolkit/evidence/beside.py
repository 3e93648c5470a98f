"""The files of a report: the page or the Markdown, and a folder beside it with what it shows."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from toolkit.runs.written import AnyPath, Data, check_folder, write_all


class Beside:
    """Collects what a report shows as files of their own, and writes them with it: all of them, or none.

    Args:
        path: The report's file. The folder beside it is named after it.

    Example:
        >>> Beside(Path("a b) [c](d.md")).add("00.png", b"")
        'a%20b%29%20%5Bc%5D%28d_files/00.png'
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.with_name(f"{path.stem}_files")
        self._files: dict[AnyPath, Data] = {}

    def add(self, name: str, data: bytes) -> str:
        """Add a file, and return where the report finds it: an address in which no character has a meaning."""
        self._files[self._folder / name] = data
        # A file name may be any bytes; quote writes those that are no text as they are on the disk.
        return quote(f"{self._folder.name}/{name}", errors="surrogateescape")

    def write(self, text: str) -> None:
        """Write all files and the report itself, which takes its place last.

        Raises:
            ToolkitError: If one of them cannot be written.
        """
        if self._files:
            check_folder(self._folder, "path=")
        write_all({self._path: text, **self._files}, folder=self._folder if self._files else None)
