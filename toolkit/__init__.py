"""toolkit: plan, run and look at diffusion VAEs over several devices, from a notebook.

import toolkit as tk

vae, latent = tk.demo.video_vae(), tk.demo.latents("video")
grid = tk.TileGrid.cover({"h": 32, "w": 32}, tile=18, overlap=4)
plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, ranks=2))
with tk.Cluster(ranks=2) as cluster:
    run = cluster.decode(vae, latent, plan)
tk.plot.timeline(run)
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from toolkit import distributed
from toolkit.analysis.compare import Comparison, compare
from toolkit.analysis.stage_memory import fit_memory
from toolkit.analysis.stage_times import StageTimes, stage_times
from toolkit.cluster import Cluster, Job, self_check
from toolkit.errors import (
    ModelError,
    NotExact,
    PlanError,
    RankDied,
    RankFailed,
    RunCancelled,
    RunError,
    RunTimeout,
    ToolkitError,
)
from toolkit.geometry import (
    Assignment,
    Blend,
    Schedule,
    Seam,
    ShardPlan,
    Span,
    StagePlan,
    StageSplit,
    Tile,
    TileGrid,
    TilePlan,
)
from toolkit.models import demo
from toolkit.models.autoencoders.exact_grid import exact_grid
from toolkit.models.autoencoders.options import Options
from toolkit.models.autoencoders.receptive import ReceptiveField, receptive_field
from toolkit.models.autoencoders.tiling import diffusers_grid
from toolkit.models.transformers.split_check import Proof
from toolkit.models.transformers.virtual import virtual
from toolkit.planning.choose import Choice, plan
from toolkit.runs.record import Record
from toolkit.runs.run import Run
from toolkit.runs.video_file import VideoFile
from toolkit.sweeps.search import search
from toolkit.sweeps.sweep import reproduce, sweep

if TYPE_CHECKING:
    from toolkit import plot, widgets
    from toolkit.evidence.report import Report, report

__all__ = [
    "Assignment",
    "Blend",
    "Choice",
    "Cluster",
    "Comparison",
    "Job",
    "ModelError",
    "NotExact",
    "Options",
    "PlanError",
    "Proof",
    "RankDied",
    "RankFailed",
    "ReceptiveField",
    "Record",
    "Report",
    "Run",
    "RunCancelled",
    "RunError",
    "RunTimeout",
    "Schedule",
    "Seam",
    "ShardPlan",
    "Span",
    "StagePlan",
    "StageSplit",
    "StageTimes",
    "Tile",
    "TileGrid",
    "TilePlan",
    "ToolkitError",
    "VideoFile",
    "compare",
    "demo",
    "diffusers_grid",
    "distributed",
    "exact_grid",
    "fit_memory",
    "plan",
    "plot",
    "receptive_field",
    "report",
    "reproduce",
    "search",
    "self_check",
    "stage_times",
    "sweep",
    "virtual",
    "widgets",
]


def __getattr__(name: str) -> Any:
    """Load plots, reports and widgets on first use: a machine without plotly and ipywidgets can plan and run."""
    if name == "widgets" and find_spec("ipywidgets") is None:
        raise ModuleNotFoundError("tk.widgets needs ipywidgets: pip install 'toolkit[widgets]'", name="ipywidgets")
    if name in ("plot", "widgets"):
        return import_module(f"toolkit.{name}")
    if name in ("Report", "report"):
        return getattr(import_module("toolkit.evidence"), name)
    raise AttributeError(f"module 'toolkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
