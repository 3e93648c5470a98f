"""Messages whose other end is gone: the rank is named, also where nobody watches the processes, as under torchrun."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

import toolkit as tk
from toolkit.distributed.comm.exchange import Exchange
from toolkit.distributed.comm.failure import FailureFlag
from toolkit.distributed.comm.group import Member
from toolkit.distributed.comm.message import Message
from toolkit.distributed.comm.rank import Rank
from toolkit.runs.trace import Label, Recorder

GLOO = "[pair.cc:553] Connection closed by peer [127.0.0.1]:12445."


class Broken:
    """A transport whose every wait ends as a backend ends it."""

    where = torch.device("cpu")

    def __init__(self, words: str) -> None:
        self.words = words

    def post(self, messages):
        pass

    def release(self):
        pass

    def arrived(self, message):
        return False

    def wait(self, message):
        raise RuntimeError(self.words)


def exchange(words: str) -> Exchange:
    flag = FailureFlag(None, 0)
    return Exchange(Member(None, 0, 4), flag, trace=Recorder(), device=torch.device("cpu"), transport=Broken(words))


def test_a_rank_whose_connection_broke_is_named():
    """The survivor raised gloo's own error, with a port and without a rank."""
    ours = exchange(GLOO)
    message = ours.receive((2,), torch.float32, 3, Label())
    with pytest.raises(tk.RankDied, match=r"rank 3 died: its connection broke .*Connection closed by peer") as caught:
        ours.take(message)
    assert (caught.value.rank, caught.value.exitcode) == (3, None)


def test_a_rank_that_is_waited_for_too_long_is_named():
    ours = exchange("Timed out waiting 1800000ms for recv operation to complete")
    with pytest.raises(tk.RunTimeout, match=r"rank 0 has waited for rank 3 .* longer timeout") as caught:
        ours.take(ours.receive((2,), torch.float32, 3, Label()))
    assert caught.value.ranks == (3,)


def waits_for_ever() -> str:
    group = dist.new_group([1, 2], timeout=timedelta(seconds=1))
    if dist.get_rank() == 2:
        time.sleep(2)
    if dist.get_rank() != 1:
        return ""
    rank = Rank.of(group, None, "aten")
    ours = rank.exchange(torch.device("cpu"))
    try:
        ours.take(ours.receive((2,), torch.float32, 1 - rank.member.rank, Label()))
    except tk.RunTimeout as error:
        return str(error)
    finally:
        ours.close()
    return "nothing"


def test_a_wait_of_a_group_has_its_limit(cluster):
    said = cluster.run(waits_for_ever, timeout=30)
    assert "rank 0 has waited for rank 1" in said[1]


class Leaving(Broken):
    """A transport that cannot send."""

    def leaving(self):
        return [Message(Label(), 2, sends=True, buffer=torch.zeros(1))]

    def drain(self):
        self.wait(None)


def test_a_rank_to_which_nothing_can_be_sent_is_named():
    ours = exchange(GLOO)
    ours.transport = Leaving("[pair.cc:537] Read error [10.0.0.2]:31406: No route to host.")
    with pytest.raises(tk.RankDied, match=r"rank 2 died: .* or the link to it is gone"):
        ours.flush()


def test_a_failure_that_quotes_a_broken_connection_stays_what_it_is():
    """The next rank said that its own neighbour had died, which had told what it died of."""

    class Failed(Broken):
        def wait(self, message) -> None:
            raise tk.RankFailed(1, f"RankDied: {self.words}", "")

    flag = FailureFlag(None, 0)
    failed = Failed(GLOO)
    ours = Exchange(Member(None, 0, 4), flag, trace=Recorder(), device=torch.device("cpu"), transport=failed)
    with pytest.raises(tk.RankFailed, match="rank 1 raised RankDied"):
        ours.take(ours.receive((2,), torch.float32, 3, Label()))


def test_other_errors_stay_what_they_are():
    ours = exchange("unsupported tensor type")
    with pytest.raises(RuntimeError, match="unsupported") as caught:
        ours.take(ours.receive((2,), torch.float32, 3, Label()))
    assert not isinstance(caught.value, tk.ToolkitError)
