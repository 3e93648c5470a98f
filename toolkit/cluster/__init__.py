"""Processes: ranks started from a notebook kernel, faults, progress."""

from toolkit.cluster.cluster import Cluster
from toolkit.cluster.job import Job

__all__ = ["Cluster", "Job"]
