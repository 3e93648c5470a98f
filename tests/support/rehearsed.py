"""The code of ranks, written down on tensors without data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from toolkit.distributed.comm.rank import Rank
from toolkit.planning.rehearsing.ensemble import Ensemble, Letters
from toolkit.planning.rehearsing.fake_tensors_compat import without_data
from toolkit.planning.rehearsing.known_values import KnownValues
from toolkit.planning.rehearsing.scribe import Scribe
from toolkit.planning.rehearsing.script import Script
from toolkit.planning.rehearsing.silent_transport import Correspondence
from toolkit.planning.rehearsing.writing import write_script

CPU = torch.device("cpu")


def written(act: Callable[[Rank], Any], values: KnownValues) -> Script:
    """The script of a rank without others; call it inside ``without_data``."""
    script = Script(0)
    scribe = Scribe(script, values, CPU)
    messages = Correspondence(script, CPU, lambda: scribe.live)
    return write_script(act, script, scribe, size=1, convolutions="onednn", messages=messages)


def answered(ask: Callable[[], Any], values: KnownValues) -> Any:
    """What a function returns in a rehearsal; call it inside ``without_data``."""
    answers: list[Any] = []

    def act(_: Rank) -> None:
        answers.append(ask())

    written(act, values)
    return answers[0]


def together(acts: Mapping[int, Callable[[Rank], Any]]) -> list[Script]:
    """The scripts of ranks that send each other messages; they begin in the order in which they are given."""

    def write(rank: int, mail: Letters, values: KnownValues) -> Script:
        script = Script(rank)
        scribe = Scribe(script, values, CPU)
        messages = Correspondence(script, CPU, lambda: scribe.live, mail=mail)
        return write_script(acts[rank], script, scribe, size=len(acts), convolutions="onednn", messages=messages)

    with without_data():
        return Ensemble({rank: partial(write, rank) for rank in acts}).scripts()


def tables() -> list[Any]:
    """What torch knows of process groups, and Python of warnings."""
    world = distributed_c10d._world
    return [dist.group.WORLD, dict(world.pg_map), dict(world.pg_group_ranks), world.group_count, warnings.filters[:]]
