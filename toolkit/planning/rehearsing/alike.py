"""Shards that are alike do the same, with other neighbours: their scripts are written once, and renamed.

Of a row of 32 shards with even heights there are three kinds: the first, the last, and 30 in between. On a lattice of
32 x 32 there are nine, so 1,024 ranks cost as much as nine. Uneven heights make a few more.

Renaming needs to know whom a message goes to. There are three patterns, told apart by what the message is for:

    halo h, halo w        the neighbour, at the same distance along that axis
    shard                 the rank that collects the output
    anything else         every rank that holds a part of the same map, in the order of their shards
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from toolkit.geometry.shard_plan import AXES, ShardPlan
from toolkit.planning.rehearsing.script import Crossing, Post, Script
from toolkit.runs.trace import Event, Kind

Parts = Mapping[str, Sequence[int]]
"""Number of rows of each part along each axis."""

THINNEST = 4
"""Rows of a part below which a halo may come from further away than the neighbour."""

HALO = "halo "
OUTPUT = "shard"


def representatives(plan: ShardPlan, parts: Parts) -> dict[int, int]:
    """For each rank, the first rank that does the same.

    Args:
        plan: The shards.
        parts: The rows of each part.

    Returns:
        Each rank itself where shards are too different to be renamed: thin ones, a ring over uneven ones, and those
        that recompute their borders, which depend on how far the edge of the map is.

    Example:
        >>> plan = ShardPlan(h=5)
        >>> representatives(plan, {"h": (8, 8, 8, 8, 8), "w": (9,)})
        {0: 0, 1: 1, 2: 1, 3: 1, 4: 4}
        >>> representatives(plan, {"h": (9, 8, 8, 8, 8), "w": (9,)})
        {0: 0, 1: 1, 2: 1, 3: 1, 4: 4}
    """
    thin = any(len(rows) > 1 and min(rows) < THINNEST for rows in parts.values())
    uneven = any(len(set(rows)) > 1 for rows in parts.values())
    if plan.borders == "recompute" or thin or (plan.attention == "ring" and uneven):
        return {rank: rank for rank in range(plan.ranks)}
    first: dict[object, int] = {}
    return {rank: first.setdefault(_kind(plan, parts, rank), rank) for rank in range(plan.ranks)}


def _kind(plan: ShardPlan, parts: Parts, rank: int) -> object:
    place = plan.position(rank)
    sides = [
        (parts[axis][place[axis]], place[axis] == 0, place[axis] == len(parts[axis]) - 1) for axis in sorted(place)
    ]
    return rank == plan.root, tuple(sides)


class Lattice:
    """Where the ranks of shards are, and how large their parts.

    Args:
        plan: The shards.
        parts: The rows of each part.
    """

    def __init__(self, plan: ShardPlan, parts: Parts) -> None:
        self.plan = plan
        self.places = [plan.position(rank) for rank in range(plan.ranks)]
        self.sizes = [tuple(parts[axis][place[axis]] for axis in AXES) for place in self.places]


class Renaming:
    """From one rank to another that is alike: the :class:`~toolkit.planning.rehearsing.script.Names` of its script.

    Args:
        lattice: All ranks.
        source: The rank whose script is written.
        target: The rank whose script is wanted.
    """

    def __init__(self, lattice: Lattice, *, source: int, target: int) -> None:
        self._lattice, self._plan = lattice, lattice.plan
        self._source, self._target = source, target
        self._from, self._to = lattice.places[source], lattice.places[target]
        self._groups: dict[tuple[int, ...], dict[int, int]] = {}

    def script(self, written: Script) -> Script:
        """The script of the target. It shares all that is long with the one of the source."""
        return replace(written, rank=self._target, names=self)

    def post(self, step: Post) -> Post:
        """A step that starts messages, with the target's peers."""
        names = self._names(step)
        if step.purpose.startswith(HALO) or step.purpose == OUTPUT:
            return step._replace(crossings=tuple(one._replace(peer=names[one.peer]) for one in step.crossings))
        sizes = self._lattice.sizes
        received = {sizes[one.peer]: one.bytes for one in step.crossings if not one.sends}
        crossings = [
            Crossing(sends, names[peer], size if sends else received[sizes[names[peer]]])
            for sends, peer, size in step.crossings
        ]
        return step._replace(crossings=tuple(crossings))

    def events(self, script: Script) -> list[Event]:
        """What the target records."""
        peers: dict[tuple[str, int], int] = {}
        received: dict[tuple[str, int], deque[int]] = defaultdict(deque)
        for step in script.steps:
            if not isinstance(step, Post):
                continue
            for old, new in zip(step.crossings, self.post(step).crossings, strict=True):
                peers[step.purpose, old.peer] = new.peer
                if not old.sends:
                    received[step.purpose, old.peer].append(new.bytes)
        return [self._event(event, peers, received) for event in script.events]

    def _names(self, step: Post) -> Mapping[int, int]:
        """The target's peers in the places of the source's."""
        others = {crossing.peer for crossing in step.crossings}
        if step.purpose == OUTPUT:
            return dict.fromkeys(others, self._plan.root)
        if step.purpose.startswith(HALO):
            return {peer: self._neighbour(peer) for peer in others}
        if self._plan.attention == "ring" and len(others) <= 2:
            # As far round the ring of all ranks.
            return {peer: (self._target + peer - self._source) % self._plan.ranks for peer in others}
        return self._gathered(tuple(rank for rank in self._plan.part_owners if rank in others))

    def _neighbour(self, peer: int) -> int:
        place = self._lattice.places[peer]
        moved = {axis: self._to[axis] + place[axis] - self._from[axis] for axis in AXES}
        return self._plan.rank_at(**moved)

    def _gathered(self, others: tuple[int, ...]) -> dict[int, int]:
        """For the peers of the source that hold the rest of a map, those of the target, in the order of shards."""
        if others not in self._groups:
            places = self._lattice.places
            divided = [axis for axis in AXES if len({places[rank][axis] for rank in (self._source, *others)}) > 1]
            same = [axis for axis in AXES if axis not in divided]
            mine = [
                rank
                for rank in self._plan.part_owners
                if rank != self._target and all(places[rank][axis] == self._to[axis] for axis in same)
            ]
            self._groups[others] = dict(zip(others, mine, strict=True))
        return self._groups[others]

    def _event(
        self, event: Event, peers: Mapping[tuple[str, int], int], received: Mapping[tuple[str, int], deque[int]]
    ) -> Event:
        label, key = event.label, (event.label.purpose, event.peer)
        if label.tile == self._source:
            # A shard is labelled with the rank that computes it.
            label = replace(label, tile=self._target)
        # Messages from one rank arrive in the order in which they were posted.
        size = received[key].popleft() if event.kind is Kind.RECEIVE else event.bytes
        return replace(event, rank=self._target, label=label, peer=peers.get(key, event.peer), bytes=size)
