"""A run: an output, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from toolkit.errors import ToolkitError
from toolkit.geometry.checks import check_choice, check_collection
from toolkit.geometry.plan import Plan, PlanKind, or_whole
from toolkit.geometry.topology import Topology, names_of
from toolkit.runs.export import write_chrome_trace, write_parquet
from toolkit.runs.picture import as_sample, picture, thumbnail
from toolkit.runs.record import Extent, Record
from toolkit.runs.run_tables import between_hosts, sent_table
from toolkit.runs.sample_file import ENDINGS, write_sample
from toolkit.runs.trace import COMPUTING, NONE, Kind

PART_OF = {
    PlanKind.WHOLE: Kind.WHOLE,
    PlanKind.TILES: Kind.DECODE,
    PlanKind.SHARDS: Kind.SHARD,
    PlanKind.STAGES: Kind.STAGE,
}
"""The kind of event that computes a part of each kind of plan."""


@dataclass(frozen=True, repr=False, eq=False)
class Run:
    """The result of one call on a cluster, and how it came about.

    Attributes:
        kept: The output; None if it was streamed. For a pipeline: frames, images or latents, as the pipeline returns
            them; a list of them for several requests.
        trace: One row per event: rank, kind, label, start and end (s since the run began), bytes, peer (the rank at
            the other end of a message), tile, chunk, branch, step (-1 where a number does not apply), expert, purpose
            and module (empty where they do not apply). See :class:`toolkit.runs.trace.Label`.
        memory: Each rank's allocated bytes over time, above those at the start of the run: rank, time (s), bytes.
        peaks: Each rank's true peak in bytes, by rank; empty if memory was not measured.
        record: Where the numbers come from.
        plan: The plan, or None for the model's own call.
        seconds: Time from the call in the kernel to the end of the last rank, transfer of the output included.
        ratio: Sample cells per latent cell along each axis of the plan's grid.
        streamed: The shape of an output that was streamed; empty if it was kept.
        result: Everything that the pipeline returned; a list for several requests. None for other runs.
        plans: The plan of each transformer of a pipeline, by name; empty for other runs.
    """

    kept: Any
    trace: pd.DataFrame
    memory: pd.DataFrame
    peaks: pd.Series
    record: Record
    plan: Plan | None
    seconds: float
    ratio: Mapping[str, int] = field(default_factory=dict)
    streamed: tuple[int, ...] = ()
    result: Any = None
    plans: Mapping[str, Plan] = field(default_factory=dict)

    @property
    def way(self) -> Plan:
        """The plan as a value that is never None: ``WholeCall()`` for the model's own call."""
        return or_whole(self.plan)

    @property
    def rehearsed(self) -> bool:
        """Whether this is a rehearsal, in which nothing was computed."""
        return bool(self.record.what.get("rehearsed"))

    @property
    def output(self) -> Any:
        """The tensor that the model's own call returns, on the CPU; for a pipeline, what it returns.

        Raises:
            ToolkitError: If the output was streamed: then the run kept nothing of it.
        """
        if self.kept is None:
            raise ToolkitError(f"{self!r} kept no output: use the bands as they arrive, or run without stream=.")
        return self.kept

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output, kept or streamed."""
        if self.kept is None:
            return self.streamed
        first = getattr(self.kept, "shape", None)
        return (len(self.kept),) if first is None else tuple(first)

    @property
    def busy(self) -> pd.Series:
        """Seconds that each rank spent computing (tiles, shards, stages, blending, finishing), by rank."""
        work = self.trace[self.trace["kind"].isin([kind.value for kind in COMPUTING])]
        return (work["end"] - work["start"]).groupby(work["rank"]).sum()

    def summary(self) -> pd.DataFrame:
        """One row per rank: parts computed (tiles, shards, stretches of stages), seconds, bytes sent, and the peak."""
        rows = []
        kind = PART_OF[self.way.kind]
        for rank, events in self.trace.groupby("rank"):
            done = events["kind"] == kind.value
            if kind is Kind.SHARD:  # a shard is computed in stretches between messages: only the last one names it
                done &= events["tile"] != NONE
            spent = (events["end"] - events["start"]).groupby(events["kind"]).sum()
            sent = int(events.loc[events["kind"] == Kind.SEND.value, "bytes"].sum())
            rows.append(
                {
                    "rank": rank,
                    self.way.part_noun: int(done.sum()),
                    "busy s": float(self.busy.get(rank, 0.0)),
                    "wait s": float(spent.get(Kind.WAIT.value, 0.0)),
                    "move s": float(spent.get(Kind.SEND.value, 0.0) + spent.get(Kind.RECEIVE.value, 0.0)),
                    "sent bytes": sent,
                    "peak bytes": self.peaks.get(rank),
                }
            )
        return pd.DataFrame(rows).set_index("rank") if rows else pd.DataFrame()

    @property
    def hosts(self) -> list[str]:
        """The host of each rank, by rank; empty where all ranks were on one machine."""
        return list(self.record.what.get("hosts", ()))

    def host_messages(self, hosts: Topology | Sequence[str] | None = None) -> pd.DataFrame:
        """One row per pair of hosts: sender, receiver, number of messages, bytes.

        Messages between the ranks of one host have a row, too. Collectives (``sp``, ``tp``) are not in it, because a
        trace does not record their messages.

        Args:
            hosts: The name of each rank's host, or a topology, whose hosts are called ``host 0`` and so on. None:
                :attr:`hosts`.

        Raises:
            ToolkitError: If nothing says which hosts the ranks were on, or the trace does not say who receives.
        """
        names = names_of(hosts) if isinstance(hosts, Topology) else self.hosts if hosts is None else hosts
        check_collection("hosts", names, what="names, the host of each rank, or a tk.Topology")
        if not names:
            raise ToolkitError(f"all ranks of {self!r} were on one host: give hosts=, such as a tk.Topology.")
        return between_hosts(self.messages, names)

    @property
    def messages(self) -> pd.DataFrame:
        """One row per pair of ranks: sender, receiver, number of messages, bytes.

        Raises:
            ToolkitError: If the trace does not say who receives.
        """
        return sent_table(self.trace)

    def picture(self, frame: int | None = None) -> Image.Image:
        """One frame of the output as a picture; None: the one in the middle. ``tk.picture`` puts several side by side.

        Raises:
            PlanError: If the output is not pictures or frames, or has no such frame.
        """
        return picture(self, frame=frame)

    def save(self, path: str | Path, fps: float = 16) -> Path:
        """Write the output to a file.

        Args:
            path: ``.png`` for a picture, ``.mp4`` for a video, ``.safetensors`` for the tensor, as exact as it is.
            fps: Frames per second of a video.

        Raises:
            PlanError: If the output does not fit the type of file.
            ToolkitError: If the file cannot be written. What was there is unchanged.

        Example:
            >>> run.save("sample.mp4")  # doctest: +SKIP
            PosixPath('sample.mp4')
        """
        path = Path(path)
        check_choice("path's ending", path.suffix, choices=ENDINGS)
        write_sample(as_sample(self.output), path, fps=fps)
        return path

    def to_chrome_trace(self, path: str | Path, *, record: Extent = "public") -> Path:
        """Write trace and memory for chrome://tracing or Perfetto.

        Args:
            path: The file; compressed if it ends in ``.gz``. A new file is readable for its owner only.
            record: ``"public"`` for :meth:`Record.public`; ``"full"`` with prompts and folders.

        Raises:
            ToolkitError: If the file cannot be written. What was there is unchanged.
        """
        return write_chrome_trace(self.trace, self.memory, record=self.record.extent(record), path=path)

    def to_parquet(self, folder: str | Path, *, record: Extent = "public") -> Path:
        """Write trace and memory as parquet, and the record as JSON.

        Args:
            folder: The folder, made if it does not exist; the one above it must exist. New files are readable for their
                owner only.
            record: ``"public"`` for :meth:`Record.public`; ``"full"`` with prompts and folders.

        Raises:
            ToolkitError: If the files cannot be written. What was there is unchanged.
        """
        return write_parquet(self.trace, self.memory, record=self.record.extent(record), folder=folder)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape)) + (" streamed" if self.streamed else "")
        how = self.way.summary
        peak = f", peak {self.peaks.max() / 1e6:.0f} MB" if len(self.peaks) else ""
        return f"Run({shape} by {how} in {self.seconds:.2f} s{peak})"

    def _repr_html_(self) -> str:
        table = self.summary()
        if "peak bytes" in table:
            table = table.assign(**{"sent bytes": table["sent bytes"] / 1e6, "peak bytes": table["peak bytes"] / 1e6})
            table = table.rename(columns={"sent bytes": "sent MB", "peak bytes": "peak MB"})
        shown = thumbnail(self.kept)
        return f"<p>{escape(repr(self))}</p>{shown}" + table.to_html(float_format="{:.2f}".format)
