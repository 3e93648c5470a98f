"""Errors as a notebook shows them: the user's and the model's lines, without those of this package.

IPython lets an error draw itself (``_render_traceback_``). Outside a notebook nothing changes, and inside one nothing
is lost: ``error.__traceback__`` is whole, and ``traceback.print_exception(error)`` prints it.
"""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path

OWN = str(Path(__file__).parent)
STANDARD = sysconfig.get_paths()["stdlib"]
FRAME = re.compile(r' *File "(?P<file>[^"]+)", line \d+')


def cell_traceback(error: BaseException, said: str) -> list[str]:
    """The lines that a notebook shows for an error.

    Args:
        error: The error, as it was caught.
        said: What its last line says, after its type.
    """
    cause = error.__cause__
    before = [*cell_traceback(cause, str(cause)), "", "This led to:", ""] if cause is not None else []
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_hidden(frame)]
    return [*before, *map(_as_line, frames), f"{type(error).__name__}: {said}"]


def without_own_frames(text: str) -> str:
    r"""The traceback of a rank without the frames of this package, of which only the number is given.

    A traceback with no other frames is left as it is: then the fault is ours, and every frame counts.

    Example:
        >>> text = f'Traceback\n  File "{OWN}/a.py", line 1, in f\n    f()\n  File "model.py", line 2\nValueError: no'
        >>> print(without_own_frames(text))
        Traceback
          (1 frame of toolkit)
          File "model.py", line 2
        ValueError: no
    """
    kept: list[str] = []
    own = others = run = 0
    inside = False
    for line in text.splitlines():
        found = FRAME.match(line)
        if found:
            inside = found["file"].startswith(OWN)
        elif not line.startswith("    "):
            inside = False
        if inside:
            own += bool(found)
            run += bool(found)
            continue
        if run:
            kept.append(f"  ({run} frame{'s' if run > 1 else ''} of toolkit)")
            run = 0
        others += bool(found)
        kept.append(line)
    return "\n".join(kept) if own and others else text


def _is_hidden(frame: traceback.FrameSummary) -> bool:
    """Whether a frame says nothing to the user: ours, IPython's, the standard library's, or written by it."""
    file, path = frame.filename, Path(frame.filename)
    if file.startswith(OWN) or "IPython" in path.parts or (file == "<string>" and frame.name == "__init__"):
        return True
    return file.startswith(STANDARD) and not {"site-packages", "dist-packages"} & set(path.parts)


def _as_line(frame: traceback.FrameSummary) -> str:
    path = Path(frame.filename)
    in_cell = frame.filename.startswith("<ipython-input") or path.parent.name.startswith("ipykernel_")
    where = "cell" if in_cell else str(path)
    function = "" if frame.name == "<module>" else f", in {frame.name}"
    return f"{where}, line {frame.lineno}{function}:\n    {frame.line or ''}"
