"""Shards that are alike do the same, with other neighbours: their scripts are written once, and renamed.

Of a row of 32 shards with even heights there are three kinds: the first, the last, and 30 in between. On a lattice of
32 x 32 there are nine, so 1,024 ranks cost as much as nine. Uneven heights make a few more.

Renaming needs to know whom a message goes to. There are three patterns, told apart by what the message is for:

    halo h, halo w        the neighbour, at the same distance along that axis
    shard                 the rank that collects the output
    anything else         every rank that holds a part of the same map, in rank order
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from toolkit.geometry.shard_plan import AXES, ShardPlan
from toolkit.planning.rehearsing.script import Crossing, Post, Script, Step
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


class Renaming:
    """From one rank to another that is alike.

    Args:
        plan: The shards.
        parts: The rows of each part.
        source: The rank whose script is written.
        target: The rank whose script is wanted.
    """

    def __init__(self, plan: ShardPlan, parts: Parts, *, source: int, target: int) -> None:
        self._plan, self._parts = plan, parts
        self._source, self._target = source, target
        self._from, self._to = plan.position(source), plan.position(target)
        self._groups: dict[frozenset[int], dict[int, int]] = {}

    def script(self, written: Script) -> Script:
        """The script of the target."""
        peers: dict[tuple[str, int], int] = {}
        received: dict[tuple[str, int], deque[int]] = defaultdict(deque)
        steps: list[Step] = []
        for step in written.steps:
            if not isinstance(step, Post):
                steps.append(step)
                continue
            post = self._post(step, peers)
            steps.append(post)
            for old, new in zip(step.crossings, post.crossings, strict=True):
                if not old.sends:
                    received[step.purpose, old.peer].append(new.bytes)
        events = [self._event(event, peers, received) for event in written.events]
        return replace(written, rank=self._target, steps=steps, events=events)

    def _post(self, post: Post, peers: dict[tuple[str, int], int]) -> Post:
        others = frozenset(crossing.peer for crossing in post.crossings)
        names = {peer: self._peer(post.purpose, peer, others) for peer in others}
        peers.update({(post.purpose, peer): name for peer, name in names.items()})
        gathers = not post.purpose.startswith(HALO) and post.purpose != OUTPUT
        sizes = {self._size(one.peer): one.bytes for one in post.crossings if not one.sends}
        crossings = [
            Crossing(one.sends, names[one.peer], sizes[self._size(names[one.peer])])
            if gathers and not one.sends
            else one._replace(peer=names[one.peer])
            for one in post.crossings
        ]
        return post._replace(crossings=tuple(crossings))

    def _peer(self, purpose: str, peer: int, others: frozenset[int]) -> int:
        """The target's peer in the place of one of the source's."""
        if purpose == OUTPUT:
            return self._plan.root
        place = self._plan.position(peer)
        if purpose.startswith(HALO):
            moved = {axis: self._to[axis] + place[axis] - self._from[axis] for axis in place}
            return moved["h"] * self._plan.w + moved["w"]
        if self._plan.attention == "ring" and len(others) <= 2:
            return self._in_ring(peer)
        return self._gathered(others)[peer]

    def _in_ring(self, peer: int) -> int:
        """The rank that lies as far round the ring of all ranks."""
        return (self._target + peer - self._source) % self._plan.ranks

    def _gathered(self, others: frozenset[int]) -> dict[int, int]:
        """For the peers of the source that hold the rest of a map, those of the target, in rank order."""
        if others not in self._groups:
            places = [self._plan.position(rank) for rank in (self._source, *others)]
            divided = [axis for axis in AXES if len({place[axis] for place in places}) > 1]
            mine = [
                rank
                for rank in range(self._plan.ranks)
                if rank != self._target
                and all(self._plan.position(rank)[axis] == self._to[axis] for axis in AXES if axis not in divided)
            ]
            self._groups[others] = dict(zip(sorted(others), mine, strict=True))
        return self._groups[others]

    def _size(self, rank: int) -> tuple[int, ...]:
        """The rows of a rank's part along each axis."""
        place = self._plan.position(rank)
        return tuple(self._parts[axis][place[axis]] for axis in AXES)

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
