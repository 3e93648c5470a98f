"""toolkit: plan, run and look at diffusion VAEs and transformers over several devices, from a notebook.

import toolkit as tk

vae, latent = tk.demo.video_vae(), tk.demo.latents("video")
grid = tk.TileGrid.cover({"h": 32, "w": 32}, tile=18, overlap=4)
plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, ranks=2))
with tk.Cluster(ranks=2) as cluster:
    run = cluster.decode(vae, latent, plan)
tk.plot.timeline(run)
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from toolkit.about import __version__ as __version__
from toolkit.about import how_to_install
from toolkit.lazy import lazy

if TYPE_CHECKING:
    from toolkit import distributed, plot, widgets
    from toolkit.analysis.compare import Comparison, compare
    from toolkit.analysis.stage_memory import fit_memory
    from toolkit.analysis.stage_times import StageTimes, stage_times
    from toolkit.cluster.cluster import Cluster
    from toolkit.cluster.job import Job
    from toolkit.cluster.shard_check import self_check
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
    from toolkit.evidence.report import Report, report
    from toolkit.geometry import (
        Assignment,
        Blend,
        Link,
        Schedule,
        Seam,
        ShardPlan,
        Span,
        StagePlan,
        StageSplit,
        Tile,
        TileGrid,
        TilePlan,
        Topology,
        WholeCall,
    )
    from toolkit.models import demo
    from toolkit.models.autoencoders.exact_grid import exact_grid
    from toolkit.models.autoencoders.options import Options
    from toolkit.models.autoencoders.receptive import ReceptiveField, receptive_field
    from toolkit.models.autoencoders.tiling import diffusers_grid
    from toolkit.models.hub_download import download
    from toolkit.models.transformers.proof import Proof
    from toolkit.models.transformers.virtual import virtual
    from toolkit.planning.choice import Choice
    from toolkit.planning.choose import plan
    from toolkit.planning.rehearsing.profile import Profile
    from toolkit.planning.rehearsing.profiling import profile
    from toolkit.planning.rehearsing.rehearsal import Rehearsal
    from toolkit.planning.rehearsing.rehearse import rehearse
    from toolkit.runs.picture import picture
    from toolkit.runs.record import Record
    from toolkit.runs.run import Run
    from toolkit.runs.video_file import VideoFile
    from toolkit.sweeps.search import search
    from toolkit.sweeps.sweep import reproduce, sweep

_WHERE = {
    "toolkit.analysis.compare": "Comparison compare",
    "toolkit.analysis.stage_memory": "fit_memory",
    "toolkit.analysis.stage_times": "StageTimes stage_times",
    "toolkit.cluster.cluster": "Cluster",
    "toolkit.cluster.job": "Job",
    "toolkit.cluster.shard_check": "self_check",
    "toolkit.errors": "ModelError NotExact PlanError RankDied RankFailed RunCancelled RunError RunTimeout ToolkitError",
    "toolkit.evidence.report": "Report report",
    "toolkit.geometry": "Assignment Blend Link Schedule Seam ShardPlan Span StagePlan StageSplit Tile TileGrid "
    "TilePlan Topology WholeCall",
    "toolkit.models.autoencoders.exact_grid": "exact_grid",
    "toolkit.models.autoencoders.options": "Options",
    "toolkit.models.autoencoders.receptive": "ReceptiveField receptive_field",
    "toolkit.models.autoencoders.tiling": "diffusers_grid",
    "toolkit.models.hub_download": "download",
    "toolkit.models.transformers.proof": "Proof",
    "toolkit.models.transformers.virtual": "virtual",
    "toolkit.planning.choice": "Choice",
    "toolkit.planning.choose": "plan",
    "toolkit.planning.rehearsing.profile": "Profile",
    "toolkit.planning.rehearsing.profiling": "profile",
    "toolkit.planning.rehearsing.rehearsal": "Rehearsal",
    "toolkit.planning.rehearsing.rehearse": "rehearse",
    "toolkit.runs.picture": "picture",
    "toolkit.runs.record": "Record",
    "toolkit.runs.run": "Run",
    "toolkit.runs.video_file": "VideoFile",
    "toolkit.sweeps.search": "search",
    "toolkit.sweeps.sweep": "reproduce sweep",
    "toolkit.models": "demo",
    "toolkit.cluster": "engines",
}
"""Where each public name is defined."""

_SUBPACKAGES = (
    "analysis",
    "cluster",
    "distributed",
    "errors",
    "evidence",
    "geometry",
    "models",
    "numerics",
    "planning",
    "plot",
    "runs",
    "sweeps",
    "widgets",
)

_load, __dir__ = lazy(
    "toolkit", {name: where for where, names in _WHERE.items() for name in names.split()}, _SUBPACKAGES
)

__all__ = [
    "Assignment",
    "Blend",
    "Choice",
    "Cluster",
    "Comparison",
    "Job",
    "Link",
    "ModelError",
    "NotExact",
    "Options",
    "PlanError",
    "Profile",
    "Proof",
    "RankDied",
    "RankFailed",
    "ReceptiveField",
    "Record",
    "Rehearsal",
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
    "Topology",
    "VideoFile",
    "WholeCall",
    "compare",
    "demo",
    "diffusers_grid",
    "distributed",
    "download",
    "exact_grid",
    "fit_memory",
    "picture",
    "plan",
    "plot",
    "profile",
    "receptive_field",
    "rehearse",
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
    """Load a public name on first use: a machine without plotly and ipywidgets can plan and run."""
    if name == "widgets":
        for needed in ("ipywidgets", "anywidget"):
            if find_spec(needed) is None:
                raise ModuleNotFoundError(f"tk.widgets needs {needed}: {how_to_install('widgets')}", name=needed)
    if name in ("decode", "encode", "generate"):
        raise AttributeError(
            f"tk.{name} does not exist: call tk.Cluster(ranks=2).{name}(...), or, on ranks that torchrun started, "
            f"tk.distributed.{name}(...).",
            name=name,
        )
    return _load(name)
