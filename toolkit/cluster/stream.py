"""Streams on a cluster: bands of the output on their way from the root's process to the kernel's.

A band travels in shared memory. The root is at most :data:`BANDS_IN_FLIGHT` of them ahead of who takes them: a slow
consumer slows the run down instead of filling memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from torch import Tensor

from toolkit.cluster.engines.local.wire import pack
from toolkit.cluster.engines.local.worker import Line
from toolkit.distributed.tiles.streaming import Stream
from toolkit.errors import PlanError, RunError
from toolkit.geometry.plan import Plan
from toolkit.runs.video_file import VideoFile

BANDS_IN_FLIGHT = 2
"""How many bands may be under way to the kernel, the one that it works on included."""

Sink = Stream | VideoFile | str | Path
"""Where bands go: a function, or a video file; a path is a video file with the usual rate."""


def sink_of(stream: object) -> Stream | VideoFile:
    """What was given as ``stream=``, understood.

    Raises:
        PlanError: for anything but a callable, a :class:`VideoFile` or a path.

    Example:
        >>> sink_of("sample.mp4")
        VideoFile(path='sample.mp4', fps=16)
    """
    if isinstance(stream, str | Path):
        return VideoFile(stream)
    if isinstance(stream, VideoFile) or callable(stream):
        return stream
    raise PlanError(
        f"stream is a {type(stream).__name__}: give a function of a band and its start, a VideoFile, or a path."
    )


def check_file(sink: Stream | VideoFile, plan: Plan, shape: Sequence[int]) -> None:
    """Refuse a file where bands are not frames of one RGB video.

    Args:
        sink: where the bands are to go; functions take any.
        plan: the tiles.
        shape: shape of the output.

    Raises:
        PlanError: for a grid without tiles in time, or a shape that no file can hold.
    """
    if not isinstance(sink, VideoFile):
        return
    axes = plan.require_seams("stream=", "hands over the output in bands of finished tiles").axes
    if axes[0] != "t":
        raise PlanError(
            f"{sink} with a grid along {', '.join(axes)}: no frame is complete before the last band. Make the grid "
            "along t, h and w, for a class that can be tiled in time, or give a callable."
        )
    if len(shape) != 5 or shape[0] != 1 or shape[1] != 3:
        raise PlanError(
            f"{sink} for an output of shape {tuple(shape)}: a file holds one video, 1 x 3 x t x h x w; give a callable."
        )
    if shape[-2] % 2 or shape[-1] % 2:
        raise PlanError(f"{sink} for frames of {shape[-2]} x {shape[-1]}: H.264 needs even sides; give a callable.")


class Outlet:
    """The root's end: bands go to the kernel, a few at a time.

    Args:
        line: the worker's line to the kernel, which answers each band once it is taken.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._open = 0

    def __call__(self, band: Tensor, start: int) -> None:
        """Send a band, waiting first where enough are under way."""
        self._settle(BANDS_IN_FLIGHT - 1)
        self._line.send("band", pack((band, start)))
        self._open += 1

    def close(self) -> None:
        """Wait until all bands are taken."""
        self._settle(0)

    def _settle(self, most: int) -> None:
        while self._open > most:
            # During a call the kernel sends nothing else to this worker.
            self._line.receive()
            self._open -= 1


@contextmanager
def consumer(sink: Stream | VideoFile | None) -> Iterator[Callable[[Tensor, int], None]]:
    """The kernel's end: a function that takes bands, whose errors end the run; no band comes where ``sink`` is None.

    Raises:
        RunError: from the function, with what the sink raised as its cause.
    """
    with sink.writing() if isinstance(sink, VideoFile) else nullcontext(sink) as write:

        def take(band: Tensor, start: int) -> None:
            assert write is not None
            try:
                write(band, start)
            except Exception as error:
                raise RunError(
                    f"stream= raised {type(error).__name__} for the band at {start}: {error}. The run was cancelled; "
                    "its workers were stopped."
                ) from error

        yield take
