"""Processes: ranks started from a notebook kernel, faults, progress."""

from toolkit.cluster.cluster import Cluster
from toolkit.cluster.job import Job
from toolkit.cluster.self_check import self_check

__all__ = ["Cluster", "Job", "self_check"]
