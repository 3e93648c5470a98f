"""A profile: what operators cost on one kind of device, as a value that can be kept, shared and extended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import ToolkitError
from toolkit.geometry.checks import check_quantity
from toolkit.geometry.topology import Link
from toolkit.planning.rehearsing.estimate import Measured, estimate
from toolkit.planning.rehearsing.operator_call import OperatorCall
from toolkit.planning.rehearsing.work import Work
from toolkit.runs.written import write

FORMAT = 4
"""The version of the file's format."""


class OperatorCost(NamedTuple):
    """What one call of an operator costs.

    Attributes:
        seconds: Time.
        bytes: The most bytes that are allocated during the call above those before it, what it returns included.
    """

    seconds: float
    bytes: int


class HostCost(NamedTuple):
    """What the host does around operators, in seconds; None: not measured, and counted as nothing.

    Attributes:
        call: For each operator of an autoencoder's own call: modules, Python, torch's dispatch.
        ruled_call: The same on exact shards, and in passes that gather statistics of tiles.
        pipeline_call: The same in a pipeline: transformers, schedulers.
        post: For each message that is posted, with all that it costs the ranks: threads that wait for messages compete
            with ranks for the processor, and a rank that is held up holds up the next.
    """

    call: float | None = None
    ruled_call: float | None = None
    pipeline_call: float | None = None
    post: float | None = None

    def extended(self, other: HostCost) -> HostCost:
        """These costs, and those of ``other`` that are not among them."""
        return HostCost(*(mine if mine is not None else theirs for mine, theirs in zip(self, other, strict=True)))


NO_HOST_COST = HostCost()


class Crowd(NamedTuple):
    """What ranks that compute at once cost each other: they may share a processor, or the memory's bandwidth.

    Attributes:
        slowness: Seconds of the largest operators, over what they take on the ranks that measured all operators.
        post: What a message costs, as in :class:`HostCost`.
    """

    slowness: float = 1.0
    post: float | None = None


@dataclass(frozen=True)
class Profile:
    """What operators cost on a device, each in its own shape.

    Attributes:
        device: The type of device, such as ``cpu`` or ``cuda``.
        operators: The costs, by the text of an :class:`OperatorCall`.
        work: The work of each operator, by which costs of other shapes are estimated.
        host: What the host does around operators.
        link: The link between two ranks of the machine, if it was measured.
        crowds: What ranks cost each other, by their number.
        assumed: Operations and bytes per second that stand in for measurements; None: costs were measured.
        record: Where the numbers come from: versions, machine, threads, ranks that measured at the same time.
    """

    device: str
    operators: Mapping[str, OperatorCost] = field(default_factory=dict)
    work: Mapping[str, Work] = field(default_factory=dict)
    host: HostCost = NO_HOST_COST
    link: Link | None = None
    crowds: Mapping[int, Crowd] = field(default_factory=dict)
    assumed: tuple[float, float] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def assume(
        cls, *, operations: float, bandwidth: float, device: str = "cpu", host: HostCost = NO_HOST_COST
    ) -> Profile:
        """A profile from two figures of a device in place of measurements.

        An operator then takes as long as its arithmetic at full speed, or as reading and writing its tensors, whichever
        is more. Kernels' own working memory is not in it.

        Args:
            operations: Floating-point operations per second, in the dtype of the model.
            bandwidth: Bytes per second from and to memory.
            device: The type of device.
            host: What the host does around operators.

        Example:
            >>> h100 = Profile.assume(operations=400e12, bandwidth=2.5e12, device="cuda")
            >>> h100.assumed
            (400000000000000.0, 2500000000000.0)
        """
        check_quantity("operations", operations, positive=True)
        check_quantity("bandwidth", bandwidth, positive=True)
        return cls(device, host=host, assumed=(operations, bandwidth))

    def knows(self, key: str) -> bool:
        """Whether an operator was measured in this shape."""
        return key in self.operators

    def crowd(self, ranks: int) -> Crowd:
        """What so many ranks cost each other; of more than were measured, what the most that were do."""
        if not self.crowds:
            return Crowd(post=self.host.post)
        return self.crowds[min((count for count in self.crowds if count >= ranks), default=max(self.crowds))]

    def cost(self, key: str, call: OperatorCall, made: int) -> OperatorCost:
        """The cost of an operator: as measured, or estimated from others.

        An operator that was not measured in this shape takes its time from the same operator in other shapes
        (:func:`~toolkit.planning.rehearsing.estimate.estimate`); or, if there is none that does more than hardly any
        work, from what the device reaches at best.

        Args:
            key: The operator's text.
            call: The operator.
            made: Bytes that it allocates for what it returns: all that is known of its memory without a measurement.
        """
        if key in self.operators:
            return self.operators[key]
        work = call.work
        if self.assumed is not None:
            return OperatorCost(work.seconds(*self.assumed), made)
        same = [
            Measured(one, self.work[one], *cost)
            for one, cost in self.operators.items()
            if one.startswith(f"{call.name}(")
        ]
        like = [one for one in same if one.tells_of(work)]
        if not like:
            least = min((one.seconds for one in same), default=0.0)
            return OperatorCost(least + work.seconds(*self._best()), made)
        seconds, size = estimate(key, work, like)
        return OperatorCost(seconds, max(made, size))

    def extended(self, other: Profile) -> Profile:
        """This profile with what ``other`` knows beyond it.

        Raises:
            ToolkitError: If they are of different types of device.
        """
        if other.device != self.device:
            raise ToolkitError(
                f"a profile of {self.device} cannot be extended by one of {other.device}: keep them apart."
            )
        return replace(
            self,
            operators={**other.operators, **self.operators},
            work={**other.work, **self.work},
            host=self.host.extended(other.host),
            link=self.link or other.link,
            crowds=self.crowds or other.crowds,
        )

    def save(self, path: str | Path) -> Path:
        """Write the profile as JSON, whole or not at all.

        Raises:
            ToolkitError: If it cannot be written.
        """
        text = {
            "format": FORMAT,
            "device": self.device,
            "host": self.host._asdict(),
            "link": self.link and [self.link.bandwidth, self.link.latency],
            "crowds": {count: list(crowd) for count, crowd in self.crowds.items()},
            "assumed": self.assumed,
            "record": dict(self.record),
            "operators": {key: [*cost, *self.work[key]] for key, cost in sorted(self.operators.items())},
        }
        return write(path, json.dumps(text, indent=1))

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read a profile that was written by :meth:`save`.

        Raises:
            ToolkitError: If the file is not a profile, or of another version of the format.
        """
        try:
            text = json.loads(Path(path).read_text())
            if text["format"] != FORMAT:
                raise ToolkitError(f"{path}: a profile of format {text['format']}, this version reads {FORMAT}.")
            rows = text["operators"]
            return cls(
                device=text["device"],
                operators={key: OperatorCost(*row[:2]) for key, row in rows.items()},
                work={key: Work(*row[2:]) for key, row in rows.items()},
                host=HostCost(**text["host"]),
                link=Link(*text["link"]) if text["link"] else None,
                crowds={int(count): Crowd(*row) for count, row in text["crowds"].items()},
                assumed=tuple(text["assumed"]) if text["assumed"] else None,
                record=text["record"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ToolkitError(
                f"{path}: not a profile ({error}): give a file that Profile.save has written."
            ) from error

    def _best(self) -> tuple[float, float]:
        """The most operations and bytes per second that any measured operator reaches."""
        rates = [self.work[key].rates(cost.seconds) for key, cost in self.operators.items() if cost.seconds > 0]
        if not rates:
            raise ToolkitError("the profile knows no operator: make one with tk.profile, or Profile.assume.")
        return max(rate[0] for rate in rates) or 1e9, max(rate[1] for rate in rates)

    def __repr__(self) -> str:
        if self.assumed:
            operations, bandwidth = self.assumed
            return f"Profile({self.device}: assumed {operations / 1e12:.3g} TFLOP/s and {bandwidth / 1e9:.3g} GB/s)"
        link = f", link {self.link}" if self.link else ""
        return f"Profile({self.device}: {len(self.operators)} operators{link})"
