"""The engine of several hosts: ranks that agents start, on lines that the switchboard keeps."""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from toolkit.cluster.engines.engine_protocol import Ended, Offset
from toolkit.cluster.engines.faults import STOPPED
from toolkit.cluster.engines.hosts.host import Host
from toolkit.cluster.engines.hosts.switchboard import Switchboard
from toolkit.cluster.engines.packed import Packed
from toolkit.cluster.engines.setup import Setup
from toolkit.errors import ToolkitError

END_LIMIT = 8.0
"""Seconds beyond the grace that a host has to end its ranks, before its agent is given up."""

Summon = Callable[[tuple[str, int], int], None]
"""Starts agents: given where they are to call, and for how many ranks."""


class HostsEngine:
    """Ranks on the hosts of agents that call this process.

    Args:
        address: Where agents call: an address of this machine, and a port; 0: any that is free.
        key: What agents prove to have.
        patience: Seconds that agents are waited for.
        tls: The certificate that this process shows; None: lines are in the clear.
        summon: Starts agents; None: somebody else does.
        dismiss: Ends what ``summon`` started.
    """

    def __init__(
        self,
        address: tuple[str, int],
        key: bytes,
        *,
        patience: float,
        tls: ssl.SSLContext | None = None,
        summon: Summon | None = None,
        dismiss: Callable[[], None] | None = None,
    ) -> None:
        self._address, self._key, self._patience, self._tls = address, key, patience, tls
        self._summon, self._dismiss = summon, dismiss
        self._board: Switchboard | None = None
        self._setups: Sequence[Setup] = ()
        self._deadline = 0.0
        self._placed: list[Host] = []
        self._host_of: list[Host] = []
        self._expected: list[str] = []
        self.error: BaseException | None = None

    @property
    def pids(self) -> list[int]:
        """Process ids by rank, each on its own host."""
        return [pid for host in self._placed for pid in host.pids]

    @property
    def hosts(self) -> list[str]:
        """The host of each rank, by rank: where they would be, until they have been started."""
        return [host.name for host in self._host_of] or self._expected

    @property
    def clocks(self) -> dict[int, Offset]:
        """The clocks of ranks on other hosts beside this machine's, by rank."""
        found = {rank: host.clock.offset for host in self._placed if not host.is_the_kernels for rank in host.ranks}
        return {rank: offset for rank, offset in found.items() if offset is not None}

    @property
    def unsent(self) -> int:
        """Bytes on their way to the host that is farthest behind."""
        return max((host.line.bytes_unsent for host in self._placed), default=0)

    def gather(self, ranks: int) -> list[Host]:
        """Wait until agents with room for ``ranks`` ranks have called; returns their hosts in the order of ranks.

        Raises:
            ToolkitError: If they have not after the patience.
        """
        board = self._open(ranks)
        deadline = time.monotonic() + self._patience
        with board.changed:
            while (found := self._enough(ranks)) is None:
                if not board.changed.wait(deadline - time.monotonic()):
                    raise ToolkitError(self._too_few(ranks))
        self._expected = [host.name for host in found for _ in range(host.slots)][:ranks]
        return found

    def begin(self, setups: Sequence[Setup]) -> None:
        """Begin to start one process for each set-up, as soon as enough agents are there."""
        self._open(len(setups))
        self._setups, self._placed, self._host_of, self.error = setups, [], [], None
        self._deadline = time.monotonic() + self._patience

    def wait(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; returns whether all processes have been started, or one could not be."""
        board = self._board
        if board is None or self.error is not None:
            return True
        with board.changed:
            if not self._placed:
                found = self._enough(len(self._setups))
                if found is not None:
                    self._place(found)
                    board.wake()
                elif time.monotonic() > self._deadline:
                    self.error = ToolkitError(self._too_few(len(self._setups)))
                    return True
            if not (self._placed and all(host.started for host in self._placed)):
                board.changed.wait(seconds)
            if not (self._placed and all(host.started for host in self._placed)):
                return False
            wrong = [f"{host.name}: {host.error}" for host in self._placed if host.error]
            self.error = ToolkitError("; ".join(wrong)) if wrong else None
            return True

    def joined(self) -> None:
        """Tell the agents that all ranks have joined their group."""
        self._tell_all("joined")

    def watch(self) -> None:
        """Let the agents count from now on what strikes processes."""
        self._tell_all("watch")

    def send(self, ranks: Iterable[int], message: tuple[Any, ...]) -> None:
        """Send a message to some ranks: once to each host, whatever the number of its ranks."""
        packed, wanted = Packed.of(message), set(ranks)
        if self._board is None:
            return
        with self._board.changed:
            for host in self._placed:
                if here := [rank for rank in host.ranks if rank in wanted and rank not in host.ended]:
                    host.line.pass_on(packed, "pass on", here)
        self._board.wake()

    def ready(self, ranks: Sequence[int], seconds: float) -> list[int]:
        """Wait for at most ``seconds`` until there is news; returns the ranks that sent a message, or ended."""
        assert self._board is not None
        with self._board.changed:
            if not (found := self._news(ranks)):
                self._board.changed.wait(seconds)
                found = self._news(ranks)
            return found

    def take(self, rank: int) -> tuple[Any, ...] | None:
        """The next message of a rank; None if there is none."""
        assert self._board is not None
        with self._board.changed:
            waiting = self._host_of[rank].messages[rank]
            packed = waiting.popleft() if waiting else None
        return None if packed is None else packed.load()

    def ended(self, rank: int) -> Ended | None:
        """How a rank's process ended; None while it lives."""
        return self._host_of[rank].ended.get(rank)

    def is_stopped(self, rank: int) -> bool:
        """Whether a signal had stopped a rank's process when its agent last reported."""
        return self._host_of[rank].states.get(rank) == STOPPED

    def state(self, rank: int) -> str:
        """What a rank's process was doing when its agent last reported, and what is on its way to it."""
        host = self._host_of[rank]
        coming = host.line.bytes_unsent
        sending = f", {coming / 1e6:.0f} MB on their way to it" if coming > 1 << 20 else ""
        return f"on {host.name} {host.states.get(rank, 'state unknown')}{sending}"

    def end(self, grace: float) -> None:
        """End all processes: those that end by themselves within ``grace`` seconds, and then the others."""
        board = self._board
        if board is None:
            return
        with board.changed:
            busy = [host for host in self._placed if not host.resting]
            for host in busy:
                if grace > 0:
                    host.line.pass_on(Packed.of(None), "end", grace)  # behind the messages that ask ranks to end
                else:
                    host.line.give_up()
                    host.line.put("end", grace)
            board.wake()
            deadline = time.monotonic() + grace + END_LIMIT
            while any(not host.resting for host in busy) and board.changed.wait(deadline - time.monotonic()):
                pass
            for host in busy:
                if not host.resting:
                    board.drop(host, "its agent did not end its ranks")
                host.give([])
            board.store.clear()
        self._placed, self._host_of, self._setups = [], [], ()

    def close(self) -> None:
        """Let the agents go, and listen no more."""
        board, self._board = self._board, None
        if board is not None:
            board.close()
        if self._dismiss is not None:
            self._dismiss()

    def _open(self, ranks: int) -> Switchboard:
        if self._board is None:
            self._board = Switchboard(self._address, self._key, self._tls)
            if self._summon is not None:
                self._summon(self._board.address, ranks)
        return self._board

    def _enough(self, ranks: int) -> list[Host] | None:
        """The hosts that take the ranks, in their order; None if there are too few yet."""
        assert self._board is not None
        found, left = [], ranks
        for host in sorted(self._board.hosts, key=Host.order):
            if left > 0:
                found.append(host)
                left -= host.slots
        return None if left > 0 else found

    def _too_few(self, ranks: int) -> str:
        assert self._board is not None
        have = [f"{host.name} with {host.slots}" for host in self._board.hosts]
        refused = [f"{count} x {why}" for why, count in self._board.refused.items()]
        host, port = self._board.address
        return (
            f"{ranks} ranks: after {self._patience:.0f} s there are agents of {', '.join(have) or 'no host'}"
            f"{'; refused: ' + '; '.join(refused) if refused else ''}. Start on each host: "
            f"`python -m toolkit agent {host}:{port} --key-file FILE --slots N`."
        )

    def _place(self, hosts: list[Host]) -> None:
        left = deque(self._setups)
        interface = "" if len(hosts) == 1 else None
        for host in hosts:
            here = [left.popleft() for _ in range(min(host.slots, len(left)))]
            host.give([setup.rank for setup in here])
            host.line.put("begin", [replace(setup, meeting=None) for setup in here], interface)
            self._host_of += [host] * len(here)
        self._placed = hosts

    def _news(self, ranks: Sequence[int]) -> list[int]:
        return [rank for rank in ranks if self._host_of[rank].messages[rank] or rank in self._host_of[rank].ended]

    def _tell_all(self, word: str) -> None:
        if self._board is not None:
            with self._board.changed:
                for host in self._placed:
                    host.line.put(word)
            self._board.wake()
