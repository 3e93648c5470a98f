"""What a worker prints, line by line on its way to the kernel."""

from __future__ import annotations

import io

from toolkit.cluster.engines.context import Line


class Printed(io.TextIOBase):
    """A text stream whose lines go to the kernel.

    Args:
        line: The worker's line to the kernel.
        name: The name of the stream that it stands for.
    """

    def __init__(self, line: Line, name: str) -> None:
        self._line, self._name, self._rest = line, name, ""

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Send the lines that are complete, and keep the rest until its line ends."""
        *lines, self._rest = (self._rest + text).split("\n")
        for one in lines:
            self._line.send("line", self._name, one)
        return len(text)

    def finish(self) -> None:
        """Send what was printed without a line break at its end; called when a call ends."""
        if self._rest:
            self._line.send("line", self._name, self._rest)
            self._rest = ""
