"""Engines: where the ranks of a cluster are, and what starts them there."""

from toolkit.lazy import lazy

NAMES = {"Hosts": "toolkit.cluster.engines.hosts.hosts_value"}

__getattr__, __dir__ = lazy(__name__, NAMES)
