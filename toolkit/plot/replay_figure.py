"""A replay: time as a slider, and at each moment the state of every part, the messages, and each rank's memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.analysis.part_states import SHOWN
from toolkit.analysis.replaying import Replaying, moments_of, replaying
from toolkit.errors import PlanError, ToolkitError
from toolkit.geometry.checks import is_int, is_number, shown
from toolkit.plot.figure import Figure, make
from toolkit.plot.foreign_tags import without_markup
from toolkit.plot.frame_slider import MOST_FRAMES
from toolkit.plot.memory_parts import weights_of
from toolkit.plot.replay_frames import changes, controls, frames, moving
from toolkit.plot.replay_layout import layout
from toolkit.plot.replay_panels import MOST_BARS, MOST_POINTS, Panel, Scales, legend
from toolkit.plot.state_looks import in_words
from toolkit.plot.theme import ThemeName, byte_unit, time_unit
from toolkit.plot.wanted import check_run
from toolkit.runs.run import Run

ROOM = 430_000
"""Bytes for the traces and frames. With its layout and its PNG, a figure takes at most 500 kB of a saved notebook."""

STEP = 700
"""Bytes of a moment beside its traces: its title, and its place on the slider."""

FEWEST = 3
SAMPLES = 9
"""Number of moments from which the size of a frame is estimated."""


def replay(
    run: Run,
    predicted: Run | None = None,
    *,
    moments: int = MOST_FRAMES,
    limit: int | None = None,
    weights: int | None = None,
    theme: ThemeName = "neutral",
) -> Figure:
    """Replay a run: a slider over time with Play and Pause, which work in a saved notebook without a kernel.

    At each moment, the map shows what happens to each tile, shard or stage:

    * ``waiting``: nothing has been done with it yet. A shard or a stage also waits while its rank is blocked until
      another rank sends or receives.
    * ``computing``: a rank computes it.
    * ``held``: it is begun and not done, and nothing happens to it, such as to a tile while its rank computes the next.
    * ``travelling``: a message of it is under way, from the start of the send until the receiver has taken it.
    * ``done``: the last thing that the run does with it is over.

    Numbers on the map are ranks. Where cells are too small for a number and a sign, triangles mark what is computed,
    and crosses what travels. Beside it, arrows from rank to rank are the messages that were under way since the
    moment before. Below are the timeline, and the memory of each rank in the rank's colour. A red line marks the
    moment in both. As a picture, the figure shows the moment at which memory is the highest on any rank.

    Args:
        run: A run in tiles, shards or stages, the model's own call, or a rehearsal with a profile.
        predicted: A rehearsal of the run's plan, drawn in step with the run on the same time axis; its memory is
            dotted.
        moments: Number of moments, 3 to 48. Fewer are drawn if the figure would otherwise take too much room in a
            saved notebook; the time axis says how many.
        limit: Bytes that a rank may use, weights included; drawn as a line.
        weights: Bytes of weights on each rank; by default taken from the run's record.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If the run has no events or no times, if ``predicted`` is not a rehearsal of the same plan, or if
            a limit is given and the size of the weights is unknown.

    Example:
        >>> from toolkit.geometry import ShardPlan
        >>> from toolkit.models import demo
        >>> from toolkit.planning.rehearsing.profile import Profile
        >>> from toolkit.planning.rehearsing.rehearse import rehearse
        >>> speed = Profile.assume(operations=1e12, bandwidth=1e11)
        >>> run = rehearse(demo.image_vae().to("meta"), (1, 16, 32, 32), ShardPlan(h=2), profile=speed)
        >>> replay(run).describe().partition(" over ")[0]
        '2 shards on 2 ranks'
    """
    subjects = subjects_of(run, predicted)
    if not is_int(moments) or not FEWEST <= moments <= MOST_FRAMES:
        raise PlanError(f"moments={shown(moments)}: must be an int from {FEWEST} to {MOST_FRAMES}.")
    scales = scales_of(subjects, limit, base_of(run, limit, weights))
    panels = [Panel.of(subject, place, scales, MOST_BARS // len(subjects)) for place, subject in enumerate(subjects)]
    still = [*legend(panels, limit), *_still(panels)]
    times = moments_of(subjects, min(moments, _affordable(panels, still)))
    first = int(np.abs(times - subjects[0].worst).argmin())
    befores = np.concatenate([times[:1], times[:-1]])
    slots = [panel.pairs(*when)["slot"] for panel in panels for when in zip(times, befores, strict=True)]
    entries = sum(trace.get("showlegend") is not False for trace in still)
    shape, height = layout(
        panels,
        entries=entries,
        slots=1 + max((int(one.max()) for one in slots if len(one)), default=0),
        moments=len(times),
    )
    figure = make(
        [*still, *moving(panels, times[first], befores[first])],
        shape | controls(panels, times.tolist(), first=first) | {"showlegend": True},
        title=f"Replay of {subjects[0].subject}",
        description=_describe(panels, times),
        height=height,
        theme=theme,
        table=_table(panels, times),
    )
    kinds = [trace["type"] for trace in still]
    figure.frames = [without_markup(frame) for frame in frames(panels, times.tolist(), behind=kinds)]
    return figure


def subjects_of(run: Run, predicted: Run | None) -> tuple[Replaying, ...]:
    """The run, and the rehearsal beside it, ready for replay.

    Raises:
        ToolkitError: If either cannot be replayed, or ``predicted`` is not a rehearsal of the run's plan.
    """
    check_run(run)
    if predicted is None:
        return (replaying(run),)
    if run.rehearsed or not isinstance(predicted, Run) or not predicted.rehearsed:
        raise ToolkitError(
            "predicted= takes a rehearsal, to be drawn beside a run: tk.plot.replay(run, predicted=tk.rehearse(...))."
        )
    if predicted.way != run.way:
        raise ToolkitError(
            f"predicted= is a rehearsal of {predicted.way!r}, and the run is by {run.way!r}: rehearse the run's plan."
        )
    return replaying(run), replaying(predicted)


def base_of(run: Run, limit: int | None, weights: int | None) -> int:
    """Bytes of weights to add to the curves; 0 without a limit.

    Raises:
        ToolkitError: If a limit is given and the size of the weights is unknown.
    """
    for name, value in (("limit", limit), ("weights", weights)):
        if value is not None and not (is_number(value) and 0 <= value < np.inf):
            raise PlanError(f"{name}={shown(value)}: must be a number of bytes, 0 or more.")
    if limit is None:
        return 0
    found = weights_of(run) if weights is None else weights
    if found is None:
        raise ToolkitError(
            f"limit={limit}: a limit includes the weights, and the record of {run!r} does not say how many bytes of "
            "them each rank holds. Pass weights=, or leave limit out."
        )
    return int(found)


def scales_of(subjects: Sequence[Replaying], limit: int | None, base: int) -> Scales:
    """Units and ends that all subjects share."""
    end = max(subject.end for subject in subjects)
    levels = [float(level.max(initial=0.0)) for subject in subjects for _, level in subject.curves.values()]
    top = max([max(levels, default=0.0) + base, float(limit or 0)])
    return Scales(time_unit(end), byte_unit(top), end, base, top)


def _still(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Timelines and curves; the legend has each kind of event once."""
    bars = [trace for panel in panels for trace in panel.still()]
    known: set[str] = set()
    for trace in bars:
        name = trace.get("name")
        if name in known:
            trace["showlegend"] = False
        known |= {name} if name else set()
    return bars + [trace for panel in panels for trace in panel.curves(MOST_POINTS // len(panels))]


def _affordable(panels: Sequence[Panel], still: Sequence[Any]) -> int:
    """How many moments there is room for in a saved notebook."""
    tries = moments_of([panel.replay for panel in panels], SAMPLES)
    largest = max(_bytes(changes(panels, time, before)) for before, time in pairwise(tries))
    base = _bytes([*still, *moving(panels, tries[0], tries[0])])
    return max(FEWEST, int((ROOM - base) // (largest + STEP)))


def _bytes(traces: Sequence[Any]) -> int:
    """About how many bytes traces take in a saved notebook: one value a line, and plotly's arrays in base 64."""
    return len(json.dumps(traces, indent=5, default=lambda array: ["." * (80 + array.nbytes * 4 // 3)]))


def _describe(panels: Sequence[Panel], times: npt.NDArray[np.float64]) -> str:
    first, scales = panels[0].replay, panels[0].scales
    levels = first.levels(first.worst)
    rank = max(levels, key=lambda one: levels[one], default=None)
    beside = "".join(
        f", predicted {panel.replay.end * scales.time.scale:.4g} {scales.time.name}" for panel in panels[1:]
    )
    why = "at which most parts are computed; memory was not measured"
    if rank is not None:
        size = (levels[rank] + scales.base) * scales.size.scale
        why = f"with the highest memory, {size:.3g} {scales.size.name} on rank {rank}"
    rows = f" Rows: {panels[0].which_ranks}." if panels[0].which_ranks else ""
    return (
        f"{first.subject} over {first.end * scales.time.scale:.4g} {scales.time.name} as {len(times)} moments{beside}; "
        f"shown is {first.worst * scales.time.scale:.4g} {scales.time.name}, the moment {why}: "
        f"{in_words(first.counts(first.worst))}.{rows}"
    )


def _table(panels: Sequence[Panel], times: npt.NDArray[np.float64]) -> pd.DataFrame:
    """One row per moment: how many parts are in each state, what is under way, and the highest memory."""
    rows = []
    for panel in panels:
        for time in times.tolist():
            counts, levels = panel.replay.counts(time), panel.replay.levels(time)
            messages = panel.replay.under_way(time)
            rows.append(
                {
                    "what": panel.replay.word,
                    "time (s)": time,
                    **{state.name.lower(): counts[state] for state in SHOWN},
                    "messages": len(messages),
                    "under way (bytes)": int(messages["bytes"].sum()),
                    "highest memory (bytes)": max(levels.values(), default=np.nan),
                }
            )
    return pd.DataFrame(rows)
