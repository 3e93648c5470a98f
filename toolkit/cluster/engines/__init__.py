"""Engines: where the ranks of a cluster are, and what starts them there."""

from toolkit.lazy import lazy

NAMES = {"Hosts": "toolkit.cluster.engines.hosts.hosts_value", "Ray": "toolkit.cluster.engines.hosts.on_ray"}

__getattr__, __dir__ = lazy(__name__, NAMES)
