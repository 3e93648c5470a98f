"""An event cancels the runs of the thread that named it, and no others; the cluster stays usable."""

from __future__ import annotations

import threading
import time

import pytest
from support import tiny

import toolkit as tk


def test_an_event_cancels_what_its_thread_runs():
    event, raised = threading.Event(), list[BaseException]()
    with tk.Cluster(ranks=1, device="cpu") as cluster:
        cluster.run(int)

        def work() -> None:
            with cluster.cancelled_by(event):
                try:
                    cluster.run(time.sleep, 60)
                except tk.RunCancelled as error:
                    raised.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.5)
        event.set()
        thread.join(20)
        assert len(raised) == 1
        assert cluster.run(int) == [0], "the event is for the other thread's runs"


def test_jobs_too_and_only_inside_the_block():
    event = threading.Event()
    vae, latent = tiny.kl(), tiny.latent("kl", 20, 20)
    with tk.Cluster(ranks=1, device="cpu") as cluster:
        event.set()
        with cluster.cancelled_by(event):
            job = cluster.decode(vae, latent, block=False, progress=False)
            with pytest.raises(tk.RunCancelled):
                job.result(60)
        assert cluster.decode(vae, latent, progress=False).output.shape == (1, 3, 40, 40)
