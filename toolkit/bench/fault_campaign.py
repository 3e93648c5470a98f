"""A campaign of faults: every kind, at random moments of every kind of run, and what became of each.

After each fault the same run is made again, without one. It must come out with the same bits, on the same cluster, and
nothing may be left of the run that failed: no process, no shared memory, no open file, no thread.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from toolkit.bench.fault_kinds import Broke, Fault, Strike, faults
from toolkit.bench.fault_subjects import Subject, subjects
from toolkit.cluster import Cluster
from toolkit.cluster.engines.faults import process_state
from toolkit.errors import ToolkitError
from toolkit.geometry.checks import check_counts
from toolkit.models import demo
from toolkit.runs.record import Record

LIMIT = 20.0
"""Seconds from a fault to its error, beyond which it counts as a hang. A stopped process is given 5 s to go on."""

SETTLING = 1.0
"""Seconds in which workers that were given up while they started are ended in the background."""

FINISHED = "the run had ended, or went on"


@dataclass
class Campaign:
    """Faults on clusters that live as long as the campaign.

    Attributes:
        seed: Decides what is struck, by what, and when.
        clusters: One per number of ranks.
        expected: The right result and the usual seconds of each kind of run, by name.
        pids: Every worker that there has been.
    """

    seed: int
    clusters: dict[int, Cluster]
    expected: dict[str, tuple[list[Tensor], float]] = field(default_factory=dict)
    pids: set[int] = field(default_factory=set)

    def learn(self, subject: Subject) -> None:
        """Find out what is right, and how long it takes."""
        cluster = self.clusters[subject.ranks]
        subject.result(subject.make(cluster))
        begin = time.monotonic()
        right = subject.result(subject.make(cluster))
        self.expected[subject.name] = right, time.monotonic() - begin

    def strike(self, number: int, fault: Fault, chosen: list[Subject]) -> dict[str, Any]:
        """Make one fault happen, and the same run again."""
        draw = random.Random(f"{self.seed}/{number}")
        subject = draw.choice([one for one in chosen if fault.fits(one)])
        cluster = self.clusters[subject.ranks]
        # What struck after its run had ended is told by the next call.
        self._until_right(subject, cluster, self.expected[subject.name][0])
        right, seconds = self.expected[subject.name]
        one = Strike(subject, cluster, draw.randrange(subject.ranks), draw.uniform(0, 1.1) * seconds)
        begin = time.monotonic()
        outcome, wrong = _outcome(lambda: fault.strike(one), right)
        end = time.monotonic()
        tries, wrong_after = self._until_right(subject, cluster, right)
        usable = time.monotonic()
        failed = outcome != FINISHED
        return {
            "number": number,
            "fault": fault.name,
            "run": subject.name,
            "after": round(one.after, 3),
            "outcome": outcome,
            "wrong": wrong or wrong_after,
            "seconds to error": end - (one.at or begin) if failed else None,
            "seconds to usable": usable - end if failed else None,
            "runs until right": tries,
            "left": self._left(cluster),
        }

    def _until_right(self, subject: Subject, cluster: Cluster, right: list[Tensor]) -> tuple[int, bool]:
        """How many runs it takes until one comes out, and whether it is wrong then."""
        for tries in range(1, 4):
            outcome, wrong = _outcome(lambda: subject.result(subject.make(cluster)), right)
            if outcome == FINISHED:
                self.pids |= set(cluster.pids)
                return tries, wrong
        return tries, True

    def _left(self, cluster: Cluster) -> int:
        """Processes of earlier workers that are still there, after a moment."""
        alive = {pid for one in self.clusters.values() for pid in one.pids}
        for _ in range(20):
            left = sum(process_state(pid) not in ("state unknown", "ended") for pid in self.pids - alive)
            if not left:
                break
            time.sleep(0.1)
        self.pids &= alive
        return left


def bench_faults(turns: int = 5, device: str = "cpu", *, number: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Run a campaign; returns plain values, ready for JSON.

    Args:
        turns: Faults of each kind, where ``number`` is not given.
        device: Type of device.
        number: Number of faults; the kinds take turns.
        seed: Decides what is struck, and when.
    """
    check_counts(turns=turns)
    kinds, chosen = faults(), subjects()
    total = number or turns * len(kinds)
    before = _taken()
    with ExitStack() as stack:
        clusters = {n: stack.enter_context(Cluster(n, device)) for n in sorted({one.ranks for one in chosen})}
        campaign = Campaign(seed, clusters)
        for subject in chosen:
            campaign.learn(subject)
        settled = _taken()
        rows = []
        for index in tqdm(range(total), desc="faults"):
            with _watched():
                rows.append(campaign.strike(index, kinds[index % len(kinds)], chosen))
        for subject in chosen:
            subject.result(subject.make(clusters[subject.ranks]))
        after = _taken()
    what = {"call": "bench faults", "device": device, "number": total, "seed": seed}
    record = Record.make(demo.image_vae(), {}, plan=None, what=what)
    taken = {"before": before, "when all runs had run once": settled, "after the faults": after, "closed": _taken()}
    return {"rows": rows, "taken": taken, "record": record.to_json()}


def as_text(result: dict[str, Any]) -> str:
    """A result as readable tables."""
    rows = pd.DataFrame(result["rows"])
    failed = rows[rows["outcome"] != FINISHED]
    table = rows.groupby("fault", sort=False).size().to_frame("faults")
    table["errors"] = failed.groupby("fault").size()
    table["hangs"] = failed[failed["seconds to error"] > LIMIT].groupby("fault").size()
    table["wrong"] = rows.groupby("fault")["wrong"].sum()
    table["left"] = rows.groupby("fault")["left"].sum()
    table = table.fillna(0).astype(int)
    for column in ("seconds to error", "seconds to usable"):
        groups = failed.groupby("fault")[column]
        table[column], table[f"{column.removeprefix('seconds ')}, most"] = groups.median(), groups.max()
    outcomes = failed.groupby("outcome").size().sort_values(ascending=False)
    again = rows["runs until right"].value_counts().sort_index()
    return "\n\n".join(
        [
            f"{len(rows)} faults, {len(failed)} of which struck a run that had not ended.",
            table.round(2).to_string(),
            outcomes.to_string(),
            "Runs until the right result: " + ", ".join(f"{n} for {count} faults" for n, count in again.items()),
            f"Open files, threads, MB of nameless shared memory:\n{pd.DataFrame(result['taken']).T.to_string()}",
        ]
    )


def _outcome(make: Callable[[], list[Tensor]], right: list[Tensor]) -> tuple[str, bool]:
    """What came of a run, and whether that is wrong."""
    try:
        result = make()
    except (ToolkitError, KeyboardInterrupt) as error:
        return type(error).__name__, False
    except Exception as error:
        # A fault's own exception in this process comes as a RunError, so nothing else is right here.
        return f"{type(error).__name__}: {error}"[:100], not isinstance(error, Broke)
    same = len(result) == len(right) and all(torch.equal(a, b) for a, b in zip(result, right, strict=True))
    return FINISHED, not same


@contextmanager
def _watched() -> Iterator[None]:
    """End this program, with the tracebacks of all threads, if a fault and its repair take impossibly long."""
    faulthandler.dump_traceback_later(10 * LIMIT, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _taken() -> dict[str, int]:
    """What this process holds of what may leak."""
    gc.collect()  # an error's traceback holds what its frames did
    time.sleep(SETTLING)
    files = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    shared = sum(
        int(line.split()[0].split("-")[1], 16) - int(line.split()[0].split("-")[0], 16)
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "/memfd:toolkit" in line
    )
    return {"open files": len(files), "threads": threading.active_count(), "shared MB": shared // 2**20}
