"""Widgets to explore plans, sweeps and seams, and to watch runs, made of ipywidgets and anywidget for any front end.

Each is a plain object: ``widget`` is what a notebook shows, attributes hold the state, and a saved notebook keeps a
static view of it.
"""

from toolkit.widgets.grid_explorer import GridExplorer, explore
from toolkit.widgets.live_run import LiveRun, live
from toolkit.widgets.microscope import Microscope, microscope
from toolkit.widgets.replay_player import Replay, replay
from toolkit.widgets.schedule_explorer import ScheduleExplorer, schedule
from toolkit.widgets.sweep_explorer import SweepExplorer, sweep

__all__ = [
    "GridExplorer",
    "LiveRun",
    "Microscope",
    "Replay",
    "ScheduleExplorer",
    "SweepExplorer",
    "explore",
    "live",
    "microscope",
    "replay",
    "schedule",
    "sweep",
]


def __dir__() -> list[str]:
    """What completion offers: the public names, without the modules that define them."""
    return list(__all__)
