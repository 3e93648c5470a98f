"""Figures: each function returns an ordinary plotly figure that also shows a picture where plotly does not run."""

from toolkit.plot.compare_image import compare
from toolkit.plot.figure import Figure
from toolkit.plot.gantt import timeline
from toolkit.plot.halos import halos
from toolkit.plot.host_matrix import hosts
from toolkit.plot.memory_curves import memory
from toolkit.plot.pareto import pareto
from toolkit.plot.peaks import peak_memory
from toolkit.plot.rank_map import ranks
from toolkit.plot.replay_figure import replay
from toolkit.plot.scaling_curves import scaling
from toolkit.plot.schedule_gantt import schedule
from toolkit.plot.seam_curves import seam_profile
from toolkit.plot.seam_image import seams
from toolkit.plot.sweep_figure import sweep
from toolkit.plot.time_shares import utilisation
from toolkit.plot.traffic import communication

__all__ = [
    "Figure",
    "communication",
    "compare",
    "halos",
    "hosts",
    "memory",
    "pareto",
    "peak_memory",
    "ranks",
    "replay",
    "scaling",
    "schedule",
    "seam_profile",
    "seams",
    "sweep",
    "timeline",
    "utilisation",
]


def __dir__() -> list[str]:
    """What completion offers: the public names, without the modules that define them."""
    return list(__all__)
