"""A folder that every host must have of its own: large weights are read where they are used, and never sent."""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.cluster.calls import Calls
from toolkit.cluster.engines.listener import Listener
from toolkit.errors import PlanError


def everywhere(source: str, calls: Calls, listener: Listener) -> str:
    """A folder under the name that it has on every host.

    Args:
        source: The folder, or what else a pipeline's ``from_pretrained`` takes, which is returned as it is.
        calls: The cluster's workers.
        listener: What ends the question early.

    Raises:
        PlanError: If a host lacks the folder.
    """
    hosts = calls.pool.engine.hosts
    if not hosts or not Path(source).is_dir():
        return source
    folder = str(Path(source).absolute())
    one_of = {name: rank for rank, name in reversed(list(enumerate(hosts)))}
    has = calls.call(sorted(one_of.values()), os.path.isdir, (folder,), {}, listener)
    if lacking := sorted(name for name, rank in one_of.items() if not has[rank]):
        raise PlanError(f"{folder}: not on {', '.join(lacking)}. Copy it there, or use a folder that all hosts share.")
    return folder
