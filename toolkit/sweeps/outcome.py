"""The outcome of a point: measures from whatever the function returns, or the kind of failure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from toolkit.analysis.compare import Comparison
from toolkit.errors import RankDied, RankFailed, ToolkitError
from toolkit.geometry.plan import Plan
from toolkit.runs.run import Run
from toolkit.sweeps.points import RESERVED

Status = Literal["done", "failed", "out of memory"]
Measure = None | bool | int | float | str
COMPARED = ("psnr", "ssim", "max_abs", "colour_shift", "worst_seam", "identical")
_OUT_OF_MEMORY = ("can't allocate memory", "ran out of memory", "the out-of-memory killer took it")


def measures_of(result: Any, parameters: Iterable[str]) -> tuple[dict[str, Measure], str | None]:
    """The measures in a function's result, and the public record of a run in it as JSON.

    Args:
        result: A number (called ``value``), a mapping of names to numbers or words, a :class:`Run`, a
            :class:`Comparison`, a :class:`TilePlan`, or several of these in a tuple.
        parameters: Names of the parameters, which measures cannot use.

    Raises:
        ToolkitError: If the result is anything else, or a name is already used.

    Example:
        >>> measures_of({"psnr": torch.tensor(38.5), "frames": 17}, ["tile"])
        ({'psnr': 38.5, 'frames': 17}, None)
    """
    found: dict[str, Measure] = {}
    record = None
    for part in result if isinstance(result, tuple | list) else (result,):
        if isinstance(part, Run):
            record = part.record.public().to_json()
        for name, value in _measures(part).items():
            if name in found or name in RESERVED or name in set(parameters):
                raise ToolkitError(f"the measure {name!r} has the name of another column: choose a different name.")
            found[name] = _plain(name, value)
    if not found:
        raise ToolkitError(f"the function returned {result!r}, which has no measures: return at least one number.")
    return found, record


def status_of(error: BaseException) -> Status:
    """Whether a failure was caused by lack of memory, here or on a rank.

    Example:
        >>> status_of(MemoryError()), status_of(ValueError("no"))
        ('out of memory', 'failed')
    """
    at: BaseException | None = error
    seen = set[int]()
    while at is not None and id(at) not in seen:  # causes may go round in a circle
        seen.add(id(at))
        # Errors of ranks and of torch carry these words only when memory ran out; other errors may just mention them.
        by_message = isinstance(at, RankFailed | RankDied) or type(at) is RuntimeError
        if isinstance(at, MemoryError | torch.OutOfMemoryError):
            return "out of memory"
        if by_message and any(words in _message(at) for words in _OUT_OF_MEMORY):
            return "out of memory"
        at = at.__cause__
    return "failed"


def said(error: BaseException) -> str:
    r"""An error on one line.

    Example:
        >>> said(ValueError("tile=9: too small\nfor this model")), said(MemoryError())
        ('ValueError: tile=9: too small', 'MemoryError')
    """
    first = next((line.strip() for line in _message(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def in_words(error: BaseException) -> str:
    """An error for people to read: the toolkit's own say it all, others on one line with their type.

    Example:
        >>> in_words(ToolkitError("tile=0: must be at least 1.")), in_words(SystemExit(3))
        ('tile=0: must be at least 1.', 'SystemExit: 3')
    """
    return _message(error) if isinstance(error, ToolkitError) else said(error)


def _message(error: BaseException) -> str:
    """What an error says, in characters that every file and screen takes."""
    try:
        text = str(error)
    except Exception as failure:
        # The error's own class is broken. The sweep goes on: this point has failed, whatever it would have said.
        return f"(its message cannot be read: {type(failure).__name__})"
    return text.encode(errors="backslashreplace").decode()


def _measures(part: Any) -> Mapping[str, Any]:
    if isinstance(part, Mapping):
        return part
    if isinstance(part, Run):
        return _of_run(part)
    if isinstance(part, Comparison):
        return {name: getattr(part, name) for name in COMPARED}
    if isinstance(part, Plan):
        return part.figures
    return {"value": part}


def _of_run(run: Run) -> dict[str, Any]:
    sent = run.trace.loc[run.trace["kind"] == "send", "bytes"].sum()
    peak = {"peak bytes": int(run.peaks.max())} if len(run.peaks) else {}
    return {"seconds": run.seconds, **peak, "sent bytes": int(sent), **run.way.figures}


def _plain(name: Any, value: Any) -> Measure:
    if not isinstance(name, str):
        raise ToolkitError(f"{name!r} cannot name a measure: names must be strings.")
    if isinstance(value, Tensor | np.ndarray | np.generic) and np.prod(value.shape) == 1:
        value = value.item()
    if isinstance(value, bool | int | float | str | None):
        return value
    raise ToolkitError(f"the measure {name!r} is a {type(value).__name__}, but must be a number, a string or None.")
