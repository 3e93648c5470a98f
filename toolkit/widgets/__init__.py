"""Widgets: plans, sweeps and seams to explore, runs to watch, of standard ipywidgets that any front end shows.

Each is a plain object: ``widget`` is what is shown, its attributes are the state, and a saved notebook keeps a picture.
"""

from toolkit.widgets.grid_explorer import GridExplorer, explore
from toolkit.widgets.live_run import LiveRun, live
from toolkit.widgets.microscope import Microscope, microscope
from toolkit.widgets.schedule_explorer import ScheduleExplorer, schedule
from toolkit.widgets.sweep_explorer import SweepExplorer, sweep

__all__ = [
    "GridExplorer",
    "LiveRun",
    "Microscope",
    "ScheduleExplorer",
    "SweepExplorer",
    "explore",
    "live",
    "microscope",
    "schedule",
    "sweep",
]
