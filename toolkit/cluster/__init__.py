"""The notebook's surface: a cluster of ranks, its jobs, and a check of exact shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.lazy import lazy

if TYPE_CHECKING:
    from toolkit.cluster.cluster import Cluster
    from toolkit.cluster.job import Job
    from toolkit.cluster.shard_check import self_check

__all__ = ["Cluster", "Job", "self_check"]

# A worker imports its own modules below this package, and must not load the kernel's side with them.
__getattr__, __dir__ = lazy(
    "toolkit.cluster",
    {
        "Cluster": "toolkit.cluster.cluster",
        "Job": "toolkit.cluster.job",
        "self_check": "toolkit.cluster.shard_check",
    },
)
