"""The contents of a report, before they become a page or Markdown."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from toolkit.evidence.pictures import ReportPicture


@dataclass(frozen=True, eq=False, slots=True)
class Contents:
    """The contents of a report, all of them ready to print.

    Attributes:
        title: Title of the report.
        setting: Model, input, numerics and machine on one line.
        cautions: Facts that a reader must know before trusting the numbers.
        headline: The main table, as text.
        closeness: One sentence per run about its exactness.
        remarks: Sentences about what the numbers mean, and which are missing.
        pictures: The pictures.
        film: A side-by-side video in H.264, or None.
        ranks: Table with one row per rank of each run.
        frames: Table with one row per frame of each run.
        records: Records as JSON, by the names of their runs.
    """

    title: str
    setting: str
    cautions: tuple[str, ...]
    headline: pd.DataFrame
    closeness: tuple[str, ...]
    remarks: tuple[str, ...]
    pictures: tuple[ReportPicture, ...]
    film: bytes | None
    ranks: pd.DataFrame
    frames: pd.DataFrame
    records: dict[str, str]
