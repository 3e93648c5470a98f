"""Writing the scripts of ranks that need each other's numbers: all together, one at a time.

What a rank of a pipeline does next depends on what others send it: a stage learns from the message itself which tensors
come. So every rank's code runs on a thread of its own. One runs at a time, until it needs a message that has not been
sent yet; then the next one goes on.

    rank 0   embeds, computes chunk 0, posts its output   needs the result: gives way
    rank 1   needs the output: gives way                  reads its form, computes chunk 1, posts the result ...

What is known of the numbers in a message (its form, timesteps, masks) goes with it. The rest has no numbers here.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from toolkit.distributed.stages.own_thread import OwnThread
from toolkit.errors import RunError
from toolkit.numerics.tensor_compat import without_modes
from toolkit.planning.rehearsing.known_values import KnownValues
from toolkit.planning.rehearsing.script import End, Script


class _Address(NamedTuple):
    sender: int
    receiver: int
    group: str


class Ensemble:
    """The ranks whose scripts are written together.

    Args:
        write: For each rank, writes its script. It is given the rank's mail, and what is known of tensors.
    """

    def __init__(self, write: Mapping[int, Callable[[Letters, KnownValues], Script]]) -> None:
        self._letters: dict[_Address, list[Tensor | None]] = defaultdict(list)
        self._needs: dict[int, tuple[_Address, int]] = {}
        self._threads = {rank: self._thread(rank, one) for rank, one in write.items()}

    def scripts(self) -> list[Script]:
        """Run all ranks to their ends, and return their scripts in the order of the ranks.

        Raises:
            BaseException: What the first rank to fail raised.
            RunError: If ranks wait for each other for ever.
        """
        ready = deque(self._threads)
        waiting: deque[int] = deque()
        try:
            while ready:
                rank = ready.popleft()
                thread = self._threads[rank]
                thread.resume()
                if not thread.ended:
                    waiting.append(rank)
                ready.extend(found := [one for one in waiting if self._can_go_on(one)])
                for one in found:
                    waiting.remove(one)
            if waiting:
                raise RunError(
                    f"ranks {sorted(waiting)} wait for messages that nobody sends. This is a mistake of the toolkit; "
                    "please report it with the plan."
                )
        finally:
            for thread in self._threads.values():
                thread.abandon()
        return [self._threads[rank].value for rank in sorted(self._threads)]

    def _thread(self, rank: int, write: Callable[[Letters, KnownValues], Script]) -> OwnThread[Script]:
        values = KnownValues()

        def act() -> Script:
            return write(Letters(self, rank, values), values)

        return OwnThread(act, f"toolkit-rehearsal-{rank}")

    def _can_go_on(self, rank: int) -> bool:
        address, place = self._needs[rank]
        return len(self._letters[address]) > place

    def send(self, address: _Address, twin: Tensor | None) -> None:
        """Keep what is known of a message."""
        self._letters[address].append(twin)

    def await_letter(self, rank: int, address: _Address, place: int) -> Tensor | None:
        """Let other ranks go on until a message has been sent; returns what is known of it."""
        self._needs[rank] = address, place
        while not self._can_go_on(rank):
            self._threads[rank].pause()
        found = self._letters[address][place]
        # Nobody asks again: let go of it.
        self._letters[address][place] = None
        return found


@dataclass(frozen=True, slots=True)
class Letters:
    """One rank's mail in an ensemble.

    Attributes:
        ensemble: All ranks.
        rank: The rank.
        values: What the rank knows of tensors without data.
    """

    ensemble: Ensemble
    rank: int
    values: KnownValues

    def sent(self, buffer: Tensor, *, to: int, purpose: str) -> None:
        """Keep what this rank knows of a message that it sends."""
        twin = self.values.twin_of(buffer)
        if twin is not None:
            with without_modes():
                # Either end may write to its own tensor afterwards.
                twin = twin.clone()
        self.ensemble.send(_Address(self.rank, to, purpose), twin)

    def received(self, buffer: Tensor, end: End) -> None:
        """Give way until a message has been sent, and learn what its sender knows of it."""
        twin = self.ensemble.await_letter(self.rank, _Address(end.peer, self.rank, end.group), end.place)
        if twin is not None:
            self.values.learn(buffer, twin)

    def shared(self, tensor: Tensor, line: Sequence[int], place: int) -> list[Tensor | None]:
        """Tell the other ranks of a line what this rank knows of a tensor, and hear what they know of theirs.

        Args:
            tensor: This rank's tensor.
            line: The ranks; all of them call this.
            place: How often they have done so before.

        Returns:
            What is known of each rank's tensor, in the order of the line.
        """
        purpose = f"line {tuple(line)}"
        # Its own letter included: it is a copy, which this rank may keep.
        for other in line:
            self.sent(tensor, to=other, purpose=purpose)
        senders = (_Address(other, self.rank, purpose) for other in line)
        return [self.ensemble.await_letter(self.rank, sender, place) for sender in senders]
