"""Figures: each function returns a plain plotly figure that also shows where plotly does not run."""

from toolkit.plot.figure import Figure
from toolkit.plot.gantt import timeline
from toolkit.plot.halos import halos
from toolkit.plot.memory_curves import memory
from toolkit.plot.rank_map import ranks
from toolkit.plot.schedule import schedule
from toolkit.plot.seam_curves import seam_profile
from toolkit.plot.seam_image import seams

__all__ = ["Figure", "halos", "memory", "ranks", "schedule", "seam_profile", "seams", "timeline"]
