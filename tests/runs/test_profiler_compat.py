"""The private calls of the profiler: they record what they should, and leave the process's stderr alone."""

from __future__ import annotations

import os
import threading

import torch

from toolkit.runs.profiler_compat import ThreadAllocations, allocations


def test_allocations_of_the_calling_thread():
    """If this fails, a new torch has changed the calls in profiler_compat.py."""
    with allocations() as events:
        x = torch.zeros(1000, dtype=torch.float32)
        del x
    sizes = [size for _, size in sorted(events)]
    assert sizes == [4000, -4000]


def test_allocations_of_a_further_thread():
    done = []

    def work(memory: ThreadAllocations) -> None:
        memory.start()
        done.append(torch.zeros(500, dtype=torch.float32))
        memory.stop()

    with allocations() as events:
        thread = threading.Thread(target=work, args=(ThreadAllocations(),))
        thread.start()
        thread.join()
    assert [size for _, size in events] == [2000]


def test_outside_a_measurement_a_further_thread_records_nothing():
    memory = ThreadAllocations()
    memory.start()
    memory.stop()


def test_two_threads_that_measure_leave_stderr_to_the_process(capfd):
    """Each swapped file descriptor 2 and restored what it had found, which may have been the other's."""
    begin = threading.Barrier(2)

    def measure() -> None:
        begin.wait()
        for _ in range(20):
            with allocations():
                torch.zeros(10)

    threads = [threading.Thread(target=measure) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"
