"""The kernel's end of a stream: where bands of the output go, and what happens when the user's function raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from torch import Tensor

from toolkit.distributed.tiles.streaming import Stream
from toolkit.errors import PlanError, RunError
from toolkit.geometry.plan import Plan
from toolkit.runs.video_file import VideoFile

Sink = Stream | VideoFile | str | Path
"""Where bands go: a function or a video file. A path stands for a video file with the usual frame rate."""


def sink_of(stream: object) -> Stream | VideoFile:
    """The function or file that a ``stream=`` argument stands for.

    Raises:
        PlanError: For anything but a callable, a :class:`VideoFile` or a path.

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


def check_file(sink: Stream | VideoFile, plan: Plan, *, shape: Sequence[int]) -> None:
    """Refuse a video file that cannot be written, and one if the bands are not frames of one RGB video.

    Args:
        sink: Where the bands go; functions take any band.
        plan: The plan of the run.
        shape: The shape of the output.

    Raises:
        PlanError: If the grid has no tiles in time, the shape is not that of one video, or the path is a folder or in
            a folder that does not exist.
        ToolkitError: If what writes videos is not installed.
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
    sink.check("stream=")


@contextmanager
def consumer(sink: Stream | VideoFile | None) -> Iterator[Callable[[Tensor, int], None]]:
    """A function that takes bands and ends the run if the sink raises. It is not called if ``sink`` is None.

    Raises:
        RunError: From the function, with what the sink raised as the cause.
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
