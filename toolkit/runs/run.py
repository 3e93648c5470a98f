"""Runs: an output, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.shard_plan import ShardPlan
from toolkit.geometry.stage_plan import StagePlan
from toolkit.geometry.tile_plan import TilePlan
from toolkit.runs.export import write_chrome_trace, write_parquet
from toolkit.runs.record import Record


@dataclass(frozen=True, repr=False, eq=False)
class Run:
    """What one call on a cluster gave.

    Attributes:
        kept: the output; None where it was streamed. Of a pipeline: frames, images or latents, as it returns them; a
            list of them where there were several requests.
        trace: one row per event: rank, kind, label, start and end (s since the run began), bytes, peer (the rank at
            the other end of a message, else -1).
        memory: each rank's allocated bytes over time: rank, time (s), bytes, above those at the run's begin.
        peaks: each rank's true peak in bytes, by rank; empty where memory was not measured.
        record: where the numbers come from.
        plan: the plan, or None for the model's own call.
        seconds: from the call in the kernel to the last rank's end, the transfer of the output included.
        ratio: sample cells per latent cell along each axis of the plan's grid.
        streamed: the shape of an output that was streamed; empty where it is kept.
        result: what the pipeline returned, whole; a list where there were several requests. None for other runs.
    """

    kept: Any
    trace: pd.DataFrame
    memory: pd.DataFrame
    peaks: pd.Series
    record: Record
    plan: TilePlan | ShardPlan | StagePlan | None
    seconds: float
    ratio: Mapping[str, int] = field(default_factory=dict)
    streamed: tuple[int, ...] = ()
    result: Any = None

    @property
    def output(self) -> Any:
        """What the model's own call returns as its tensor, on the CPU; of a pipeline, what it returns.

        Raises:
            ToolkitError: where it was streamed: the run kept nothing of it.
        """
        if self.kept is None:
            raise ToolkitError(f"{self!r} kept no output: use the bands where they arrive, or run without stream=.")
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
        work = self.trace[self.trace["kind"].isin(("whole", "decode", "norms", "shard", "stage", "blend", "finish"))]
        return (work["end"] - work["start"]).groupby(work["rank"]).sum()

    def summary(self) -> pd.DataFrame:
        """One row per rank: tiles, or stretches of stages; seconds busy, waiting and moving data; bytes."""
        rows = []
        what, kind = ("stretches", "stage") if isinstance(self.plan, StagePlan) else ("tiles", "decode")
        for rank, events in self.trace.groupby("rank"):
            spent = (events["end"] - events["start"]).groupby(events["kind"]).sum()
            sent = int(events.loc[events["kind"] == "send", "bytes"].sum())
            rows.append(
                {
                    "rank": rank,
                    what: int((events["kind"] == kind).sum()),
                    "busy s": float(self.busy.get(rank, 0.0)),
                    "wait s": float(spent.get("wait", 0.0)),
                    "move s": float(spent.get("send", 0.0) + spent.get("receive", 0.0)),
                    "sent bytes": sent,
                    "peak bytes": self.peaks.get(rank),
                }
            )
        return pd.DataFrame(rows).set_index("rank") if rows else pd.DataFrame()

    def to_chrome_trace(self, path: str | Path) -> Path:
        """Write trace and memory for chrome://tracing or Perfetto; compressed where ``path`` ends in ``.gz``."""
        return write_chrome_trace(self.trace, self.memory, self.record, path)

    def to_parquet(self, folder: str | Path) -> Path:
        """Write trace and memory as parquet, and the record as JSON, into ``folder``."""
        return write_parquet(self.trace, self.memory, self.record, folder)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape)) + (" streamed" if self.streamed else "")
        how = self.plan.summary if self.plan else "the model's own call"
        peak = f", peak {self.peaks.max() / 1e6:.0f} MB" if len(self.peaks) else ""
        return f"Run({shape} by {how} in {self.seconds:.2f} s{peak})"

    def _repr_html_(self) -> str:
        table = self.summary()
        if "peak bytes" in table:
            table = table.assign(**{"sent bytes": table["sent bytes"] / 1e6, "peak bytes": table["peak bytes"] / 1e6})
            table = table.rename(columns={"sent bytes": "sent MB", "peak bytes": "peak MB"})
        return f"<p>{self!r}</p>" + table.to_html(float_format="{:.2f}".format)
