"""The tables of a report, and their numbers as readable text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import pandas as pd

from toolkit.evidence.subjects import Subject
from toolkit.runs.run import Run

MB = 1e6
FORMATS = {
    "seconds": "{:.2f}",
    "speed-up": "{:.2f}x",
    "efficiency": "{:.0%}",
    "peak (MB)": "{:.1f}",
    "peak ratio": "{:.2f}",
    "max |error|": "{:.3g}",
    "PSNR (dB)": "{:.2f}",
    "SSIM": "{:.5f}",
    "FLIP": "{:.4f}",
    "worst seam": "{:.2f}x",
    "busy (s)": "{:.3f}",
    "waiting (s)": "{:.3f}",
    "moving (s)": "{:.3f}",
    "sent (MB)": "{:.2f}",
}
ABSENT = "-"
WORDS = ("run", "plan", "highest while")
"""Columns of text, aligned left."""


def headline(subjects: Sequence[Subject], base: Subject) -> pd.DataFrame:
    """One row per run: how fast, how large, how close.

    ``peak (MB)`` is the peak of the rank with the most memory, above the level before the run; ``peak ratio`` is
    relative to the base's; ``efficiency`` is the base's time times its ranks, divided by the same of this run; ``worst
    seam`` is the largest ratio of a seam's error to the interior's. ``plan`` is left out if the runs are named after
    their plans.
    """
    table = pd.DataFrame([_headline_row(subject, base) for subject in subjects])
    return table.drop(columns="plan") if (table["plan"] == table["run"]).all() else table


def per_rank(subjects: Sequence[Subject]) -> pd.DataFrame:
    """One row per rank of each run: where its time went, what it sent, its peak, and what it was doing then."""
    rows = []
    for subject in subjects:
        for rank, row in subject.run.summary().iterrows():
            peak = row["peak bytes"]
            rows.append(
                {
                    "run": subject.name,
                    "rank": rank,
                    "parts": int(row[subject.run.way.part_noun]),
                    "busy (s)": row["busy s"],
                    "waiting (s)": row["wait s"],
                    "moving (s)": row["move s"],
                    "sent (MB)": row["sent bytes"] / MB,
                    "peak (MB)": float("nan") if peak is None else float(peak) / MB,
                    "highest while": peak_moment(subject.run, int(str(rank))),
                }
            )
    return pd.DataFrame(rows)


def per_frame(subjects: Sequence[Subject]) -> pd.DataFrame:
    """One row per frame, with all measures, of each run that differs from the reference."""
    compared = [one for one in subjects if one.comparison is not None and not one.comparison.identical]
    tables = [subject.frames.assign(run=subject.name) for subject in compared]
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    table = table.rename(columns={"max_abs": "max |error|", "psnr": "PSNR (dB)", "ssim": "SSIM"})
    return table[["run", *(column for column in table if column != "run")]]


def peak_moment(run: Run, rank: int) -> str:
    """What a rank was doing at its peak: the last event to begin before it, and the time.

    Empty if memory was not measured.
    """
    curve = run.memory[run.memory["rank"] == rank] if len(run.memory) else run.memory
    if curve.empty:
        return ""
    when = float(curve["time"].iloc[int(curve["bytes"].to_numpy().argmax())])
    events = run.trace[(run.trace["rank"] == rank) & (run.trace["start"] <= when) & (run.trace["end"] >= when)]
    if events.empty:
        return f"at {when:.2f} s"
    last = events.sort_values("start").iloc[-1]
    label = f" {last['label']}" if last["label"] else ""
    return f"{last['kind']}{label}, at {when:.2f} s"


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """All cells as text: rounded by column, yes or no, and a dash for missing values."""
    return pd.DataFrame(
        {column: [_text(value, FORMATS.get(str(column), "{:.4g}")) for value in table[column]] for column in table},
        index=table.index,
    )


def _text(value: Any, form: str) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and isnan(value)):
        return ABSENT
    if isinstance(value, float) and value in (float("inf"), -float("inf")):
        return "∞" if value > 0 else "-∞"
    if isinstance(value, float):
        return form.format(value)
    return str(value)


def _headline_row(subject: Subject, base: Subject) -> dict[str, Any]:
    run = subject.run
    speed = base.run.seconds / run.seconds
    peak, before = highest(run), highest(base.run)
    return {
        "run": subject.name,
        "plan": run.way.summary,
        "ranks": subject.ranks,
        "seconds": run.seconds,
        "speed-up": speed,
        "efficiency": speed * base.ranks / subject.ranks,
        "peak (MB)": peak / MB,
        "peak ratio": peak / before if before else float("nan"),
        **_quality(subject),
    }


def highest(run: Run) -> float:
    """Peak bytes of the rank with the most memory; NaN if memory was not measured."""
    return float("nan") if run.peaks.empty else float(run.peaks.max())


def _quality(subject: Subject) -> Mapping[str, Any]:
    found = subject.comparison
    if found is None:
        nothing = float("nan")
        what = "the reference" if subject.is_reference else ABSENT
        return {"identical": what, "max |error|": nothing, "PSNR (dB)": nothing, "SSIM": nothing}
    means = {measure: sum(values) / len(values) for measure, values in subject.visible.items()}
    seam = {} if found.worst_seam is None else {"worst seam": found.worst_seam}
    return {
        "identical": "yes" if found.identical else "no",
        "max |error|": found.max_abs,
        "PSNR (dB)": found.psnr,
        "SSIM": found.ssim,
        **means,
        **seam,
    }
