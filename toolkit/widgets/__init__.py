"""Widgets: plans to explore and runs to watch, of standard ipywidgets that any notebook front end shows.

Each is a plain object: ``widget`` is what is shown, its attributes are the state, and a saved notebook keeps a picture.
"""

from toolkit.widgets.grid_explorer import GridExplorer, explore
from toolkit.widgets.live_run import LiveRun, live
from toolkit.widgets.schedule_explorer import ScheduleExplorer, schedule

__all__ = ["GridExplorer", "LiveRun", "ScheduleExplorer", "explore", "live", "schedule"]
