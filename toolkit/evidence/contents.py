"""What a report holds, before it becomes a page or Markdown."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from toolkit.evidence.pictures import Picture


@dataclass(frozen=True, eq=False, slots=True)
class Contents:
    """What a report holds, all of it made.

    Attributes:
        title: its title.
        setting: model, input, numerics and machine in a line.
        cautions: what a reader must know before believing.
        headline: the one table, as text.
        closeness: a sentence per run about what is exact.
        remarks: what the numbers are, and which are missing.
        pictures: what there is to look at.
        film: a video side by side, in H.264; None where there is none.
        ranks: a table of a row per rank of each run.
        frames: a table of a row per frame of each run.
        records: the records as JSON, by the names of their runs.
    """

    title: str
    setting: str
    cautions: tuple[str, ...]
    headline: pd.DataFrame
    closeness: tuple[str, ...]
    remarks: tuple[str, ...]
    pictures: tuple[Picture, ...]
    film: bytes | None
    ranks: pd.DataFrame
    frames: pd.DataFrame
    records: dict[str, str]
