"""Lines of ranks whose scripts are written: collectives are written down, numbers told, and torch forgets it all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
from support.rehearsed import CPU, tables
from support.staged import plans

import toolkit as tk
from toolkit.distributed.comm.silent_group_compat import SilentGroups
from toolkit.errors import ModelError
from toolkit.planning.rehearsing.ensemble import Ensemble, Letters
from toolkit.planning.rehearsing.fake_tensors_compat import without_data
from toolkit.planning.rehearsing.known_values import KnownValues
from toolkit.planning.rehearsing.rehearse import rehearse
from toolkit.planning.rehearsing.scribe import Scribe
from toolkit.planning.rehearsing.script import Collective, Script
from toolkit.planning.rehearsing.silent_line import SilentLine, SilentLines


def on_line(act: Callable[[SilentLine], Any], ranks: tuple[int, ...] = (0, 1)) -> list[list[Collective]]:
    """What each rank of a line writes down."""

    def write(rank: int, groups: SilentGroups, mail: Letters, values: KnownValues) -> Script:
        script = Script(rank)
        lines = SilentLines(script, values, mail, groups)
        with torch.no_grad(), Scribe(script, values, CPU, share=lines.share):
            act(lines.line(ranks))
        return script

    with without_data(), closing(SilentGroups()) as groups:
        scripts = Ensemble({rank: partial(write, rank, groups) for rank in ranks}).scripts()
    return [[step for step in script.steps if isinstance(step, Collective)] for script in scripts]


def test_a_sum_is_written_down_and_nothing_is_known_of_it():
    answers = []

    def act(line: SilentLine) -> None:
        numbers = torch.arange(3)
        answers.append(numbers.tolist())
        assert line.total(numbers) is numbers
        with pytest.raises(ModelError, match="depends on data"):
            numbers.tolist()

    assert on_line(act) == [[Collective((0, 1), "all_reduce", 24)]] * 2
    assert answers == [[0, 1, 2]] * 2


def test_ranks_learn_the_numbers_that_they_gather():
    """As diffusers does, which asks torch for the rank, the size and the backend of a group first."""
    answers = {}

    def act(line: SilentLine) -> None:
        group = line.mesh(CPU).get_group()
        assert line.mesh(CPU).get_group() is group
        me = dist.get_rank(group)
        assert (me, dist.get_world_size(group), dist.get_backend(group)) == (line.place, 3, "cpu:gloo")
        for turn in range(2):
            lengths = [torch.empty(1, dtype=torch.int64) for _ in range(3)]
            dist.all_gather(lengths, torch.tensor([10 * turn + me]), group=group)
            answers[me, turn] = [int(one) for one in lengths]

    assert on_line(act, (0, 2, 5)) == [[Collective((0, 2, 5), "all_gather", 24)] * 2] * 3
    assert answers == {(me, turn): [10 * turn + one for one in range(3)] for me in range(3) for turn in range(2)}


def test_what_a_rank_does_not_know_is_not_known_of_what_is_gathered():
    def act(line: SilentLine) -> None:
        lengths = [torch.zeros(2), torch.zeros(2)]
        own = torch.empty(2) if line.place else torch.ones(2)
        dist.all_gather(lengths, own, group=line.mesh(CPU).get_group())
        assert lengths[0].tolist() == [1.0, 1.0]
        with pytest.raises(ModelError, match="depends on data"):
            lengths[1].tolist()

    on_line(act)


def test_another_collective_is_refused():
    def act(line: SilentLine) -> None:
        torch.ops._c10d_functional.broadcast(torch.ones(2), 0, line.mesh(CPU).get_group().group_name)

    before = tables()
    with pytest.raises(ModelError, match=r"broadcast.* this collective is not rehearsed"):
        on_line(act)
    assert tables() == before


def in_a_group(pipe: Any, plan: Any, call: dict[str, Any]) -> list[Any]:
    """The collectives of a rehearsal in a process with a default group, on one rank that is not its first."""
    if dist.get_rank() != 1:
        return []
    before = tables()
    rehearsal = rehearse(pipe, plan=plan, **call)
    assert tables() == before
    return rehearsal.collectives.values.tolist()


def test_a_rehearsal_leaves_torch_as_it_was_and_minds_no_group_of_the_process(cluster):
    pipe = tk.demo.pipeline()
    pipe.transformer.blocks = pipe.transformer.blocks[:1]
    plan = plans(pipe, tk.Schedule.sequential(1, branches=2), sp=2)
    call = tk.demo.call(height=32, width=64, num_frames=1, num_inference_steps=1, output_type="latent")
    before = tables()
    own = rehearse(pipe, plan=plan, **call).collectives.values.tolist()
    assert tables() == before
    assert own == [
        [rank, what, *more] for rank in (0, 1) for what, *more in (["all_gather", 2, 4096], ["all_to_all", 8, 12288])
    ]

    def fails(*_: Any) -> None:
        raise KeyError("in the middle")

    with pytest.raises(KeyError, match="in the middle"):
        rehearse(pipe, plan=plan, callback_on_step_end=fails, **call)
    assert tables() == before
    assert cluster.run(in_a_group, pipe, plan, call) == [[], own, [], [], []]
