"""Replay a run: play it, stop at a moment or at an event, and follow a selection in every view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ipywidgets import Button, HBox, Layout, Play, VBox, jslink

from toolkit.analysis.replaying import Moment, Replaying, moments_of
from toolkit.errors import PlanError
from toolkit.geometry.checks import check_kind, is_number, shown
from toolkit.plot.replay_figure import base_of, scales_of, subjects_of
from toolkit.plot.replay_panels import Scales, said_at
from toolkit.plot.state_looks import in_words
from toolkit.runs.run import Run
from toolkit.widgets.board import Board, Explorer
from toolkit.widgets.clickable import Click
from toolkit.widgets.markup import page
from toolkit.widgets.microscope import Microscope
from toolkit.widgets.microscope_controls import NO_SEAM
from toolkit.widgets.replay_lanes import ReplayLanes, since_of
from toolkit.widgets.replay_map import ReplayMap
from toolkit.widgets.replay_page import controls_of, in_a_line, ranks_table
from toolkit.widgets.replay_selection import (
    NOTHING,
    Selection,
    event_selected,
    events_of,
    part_selected,
    seam_selected,
)
from toolkit.widgets.settings import Setting

MOMENTS = 240
"""Number of stops of the slider."""

INTERVAL = 120
"""Milliseconds from one moment to the next while it plays."""


class Replay(Explorer):
    """A run that can be played. Made by :func:`replay`.

    Every setting can be read and assigned: ``replay.time = 0.25`` moves the slider and all views.

    Attributes:
        moment: The stop of the slider, as a place in ``times``.
        part: The selected tile, shard or stage, by its number; -1 for none.
        rank: The rank whose events the buttons step through, as text, or ``"any"``.
        times: Seconds since the run began, one for each stop of the slider.
        selection: What is selected; the map, the timeline, the memory and the microscope follow it.
        controls: Sliders and lists, by name.
    """

    moment = Setting[int]()
    part = Setting[int]()
    rank = Setting[str]()

    times: npt.NDArray[np.float64]
    selection: Selection
    controls: Mapping[str, Any]

    def __init__(
        self, subjects: Sequence[Replaying], scales: Scales, *, limit: int | None, microscope: Microscope | None
    ) -> None:
        self._subjects, self._scales, self._microscope = subjects, scales, microscope
        self._views = [(ReplayMap(one), ReplayLanes(one, scales, limit)) for one in subjects]
        self.times = moments_of(subjects, MOMENTS)
        self.selection = NOTHING
        self._time, self._held = float(subjects[0].worst), False
        self._stop = self._nearest(self._time)
        self.controls = controls_of(subjects[0], len(self.times) - 1, self._stop)
        super().__init__(Board("Replay", self.controls, draw=self._draw, clicked=self._clicked))
        player = Play(value=self._stop, min=0, max=len(self.times) - 1, interval=INTERVAL)
        # Linked in the front end: while it plays, the kernel only draws.
        jslink((player, "value"), (self.controls["moment"], "value"))
        before, after = (Button(description=f"{word} event", tabbable=True) for word in ("Previous", "Next"))
        before.on_click(lambda button: self.previous_event())
        after.on_click(lambda button: self.next_event())
        self.widget = VBox([HBox([player, before, after], layout=Layout(flex_flow="row wrap")), self._board.widget])
        if microscope is not None:
            microscope.controls["seam"].observe(lambda change: self._came_from_microscope(change.new), names="value")

    @property
    def time(self) -> float:
        """The moment that is shown, in seconds since the run began."""
        return self._time

    @time.setter
    def time(self, value: float) -> None:
        if not is_number(value) or not 0 <= value <= self._scales.end:
            raise PlanError(f"time={shown(value)}: must be a number of seconds from 0 to {self._scales.end:.6g}.")
        with self._together():
            self._go(float(value))

    @property
    def now(self) -> Moment:
        """The state of each part, the messages under way, and the memory of each rank at the moment that is shown."""
        return self._subjects[0].at(self._time)

    def select(self, event: int) -> None:
        """Go to the start of an event, and select it with its part, its seams and its messages.

        Args:
            event: The event's row in the run's trace.

        Raises:
            PlanError: If the trace has no such row.
        """
        chosen = event_selected(self._subjects[0], event)
        with self._together():
            self._choose(chosen)
            self._go(float(self._subjects[0].trace["start"].loc[event]))

    def next_event(self) -> bool:
        """Select the next event of the selected part and rank, as the button does; False if there is none."""
        return self._step(1)

    def previous_event(self) -> bool:
        """Select the event before; False if there is none."""
        return self._step(-1)

    def _step(self, way: int) -> bool:
        first = self._subjects[0]
        rows = events_of(first, self.selection, None if self.rank == "any" else int(self.rank))
        if self.selection.event in rows:
            place = rows.index(self.selection.event) + way
        else:
            starts = first.trace.loc[rows, "start"].to_numpy()
            place = int(np.searchsorted(starts, self._time, "left")) - (way < 0)
        if not 0 <= place < len(rows):
            return False
        self.select(rows[place])
        return True

    def _nearest(self, time: float) -> int:
        return int(np.abs(self.times - time).argmin())

    def _go(self, time: float) -> None:
        """Show a moment that need not be one of the slider's stops."""
        self._time, self._stop = time, self._nearest(time)
        self.controls["moment"].value = self._stop

    def _choose(self, chosen: Selection) -> None:
        """Select, and let the slider of parts and the microscope follow."""
        self.selection = chosen
        before, self._held = self._held, True
        self.controls["part"].value = chosen.part
        if self._microscope is not None:
            seams = [tuple(tiles) for tiles in self._microscope.seams["tiles"]]
            # The microscope lists the worst seam first.
            worst = next((place for place, tiles in enumerate(seams) if tiles in chosen.seams), None)
            if worst is not None:
                self._microscope.go_to(worst)
        self._held = before

    def _clicked(self, click: Click) -> None:
        """Select what was clicked, and go to its moment. Each subject has two drawings: its map, and its lanes."""
        place, lanes = divmod(click.drawing, 2)
        if not 0 <= place < len(self._subjects):
            return
        subject, (on_map, over_time) = self._subjects[place], self._views[place]
        if not lanes:
            self.part = on_map.part_at(click.x, click.y)
            return
        since = since_of(self.times, self._time)
        pick = over_time.picked(click.x, click.y, time=self._time, since=since)
        with self._together():
            if pick.chosen is not None:
                # Events and messages are numbered as in the run; of the rehearsal beside it, only the part is known.
                first = self._subjects[0]
                self._choose(pick.chosen if subject is first else part_selected(first, pick.chosen.part))
            if pick.time is not None:
                self._go(pick.time)

    def _came_from_microscope(self, place: int) -> None:
        if place != NO_SEAM and not self._held and self._microscope is not None:
            one, other = self._microscope.seams["tiles"].iloc[place]
            with self._together():
                self._choose(seam_selected(self._subjects[0], (int(one), int(other))))

    def _draw(self) -> str:
        if self._held:
            return self._board.html
        if self.moment != self._stop:
            self._time, self._stop = float(self.times[self.moment]), self.moment
        if self.part != self.selection.part:
            self._choose(part_selected(self._subjects[0], self.part))
        since = since_of(self.times, self._time)
        several = len(self._subjects) > 1
        rows = []
        for subject, (on_map, lanes) in zip(self._subjects, self._views, strict=True):
            heading = f"<p><b>{subject.word}</b>: {in_words(subject.counts(self._time))}</p>" if several else ""
            figures = (on_map.svg(self._time, self.selection), lanes.svg(self._time, since, self._chosen_in(subject)))
            drawn = "".join(f'<div class="tk-figure" style="display:none">{figure}</div>' for figure in figures)
            rows.append(f'{heading}<div class="tk-row">{drawn}</div>{ranks_table(subject, self._time)}')
        return page("Replay", self._sentence(), body="".join(rows))

    def _chosen_in(self, subject: Replaying) -> Selection:
        """The selection in one of the subjects: events and messages are those of the first one."""
        if subject is self._subjects[0] or self.selection.part < 0:
            return self.selection if subject is self._subjects[0] else NOTHING
        return part_selected(subject, self.selection.part)

    def _sentence(self) -> str:
        first = self._subjects[0]
        return f"{first.subject} {said_at(first, self._scales, self._time)}" + in_a_line(first, self.selection)

    def __repr__(self) -> str:
        return f"Replay({self._sentence()})"


def replay(
    run: Run,
    predicted: Run | None = None,
    *,
    limit: int | None = None,
    weights: int | None = None,
    microscope: Microscope | None = None,
) -> Replay:
    """Play a run, or a rehearsal, and look at any moment of it.

    A map shows what happens to each tile, shard or stage; beside it are the timeline, the messages between ranks as
    arrows, and each rank's memory, with a red line at the moment. :func:`toolkit.plot.replay` says what the states
    mean.
    It starts at the moment of the highest memory, which is also what a saved notebook shows.

    A click on the map selects a tile, shard or stage; on the timeline, an event with its tile, seams and messages, and
    that moment; on an arrow, its messages; on the memory, that moment. By keyboard, a slider selects a tile, shard or
    stage, and buttons step from event to event of the selected part and rank. The selection is outlined on the map and
    in the timeline, its seams are pink, its messages are thick arrows, and a microscope goes to the worst of its seams;
    choosing a seam in the microscope selects it here.

    Args:
        run: A run in tiles, shards or stages, the model's own call, or a rehearsal with a profile.
        predicted: A rehearsal of the run's plan, drawn below the run in step with it.
        limit: Bytes that a rank may use, weights included; drawn as a line.
        weights: Bytes of weights on each rank; by default taken from the run's record.
        microscope: A microscope of a comparison of this run, which then shares the selection.

    Raises:
        ToolkitError: As for :func:`toolkit.plot.replay`.

    Example:
        >>> from toolkit.geometry import Assignment, Blend, TileGrid, TilePlan
        >>> from toolkit.models import demo
        >>> from toolkit.planning.rehearsing.profile import Profile
        >>> from toolkit.planning.rehearsing.rehearse import rehearse
        >>> grid = TileGrid.cover({"h": 32, "w": 32}, tile=20, overlap=8)
        >>> plan = TilePlan(grid, Blend.linear(), Assignment.balanced(grid, ranks=2))
        >>> speed = Profile.assume(operations=1e12, bandwidth=1e11)
        >>> player = replay(rehearse(demo.image_vae().to("meta"), (1, 16, 32, 32), plan, profile=speed))
        >>> player.part = 2
        >>> player.selection.seams
        ((0, 2), (2, 3))
        >>> player.next_event(), player.now.time == player.time
        (True, True)
    """
    if microscope is not None:
        check_kind("microscope", microscope, kind=Microscope, remedy="what tk.widgets.microscope(...) returns")
    subjects = subjects_of(run, predicted)
    scales = scales_of(subjects, limit, base_of(run, limit, weights))
    return Replay(subjects, scales, limit=limit, microscope=microscope)
