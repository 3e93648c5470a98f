"""Engines that compute nothing: they list what the agenda asks of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.rank import Rank
from toolkit.runs.trace import Recorder


def alone() -> Rank:
    """The only rank of a process without a group."""
    return Rank(Member(None, 0, 1), FailureFlag(None, 0), Recorder(0), "aten")


class ListedEngine:
    """An engine whose results are tensors of the call's first argument plus one.

    Attributes:
        log: What it was asked to do: ``1F0 step 2`` for lap 1 of branch 0, ``F0 step 2`` for the result.
    """

    def __init__(
        self,
        log: list[str],
        *,
        laps: int = 1,
        branches: int = 2,
        overlap: bool = True,
        in_flight: int = 99,
        ranks: tuple[int, ...] = (0,),
        name: str = "",
    ) -> None:
        self.log, self.laps, self.name = log, laps, name
        self.plan: Any = SimpleNamespace(
            branches=branches, schedule=SimpleNamespace(overlap=overlap, in_flight=in_flight, chunks=laps)
        )
        self.places = SimpleNamespace(ranks=ranks)

    def compute(self, call: Any, lap: int) -> None:
        assert not call.done
        self.log.append(f"{self.name}{lap}F{call.branch} step {call.step}")

    def take_result(self, call: Any) -> None:
        self.log.append(f"{self.name}F{call.branch} step {call.step}")
        call.complete(torch.as_tensor(call.args[0]) + 1)
