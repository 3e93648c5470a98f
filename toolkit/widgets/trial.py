"""Try a plan: run it with a button, and compare the measurement with the prediction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pandas as pd
from ipywidgets import HTML, Button, HBox, Label, VBox, Widget
from torch import Tensor

from toolkit.analysis.compare import Comparison, compare
from toolkit.cluster import Cluster
from toolkit.errors import PlanError, RunCancelled, ToolkitError
from toolkit.geometry.counting import in_bytes
from toolkit.geometry.drawing.html import cell, table, word
from toolkit.geometry.tile_plan import TilePlan
from toolkit.plot.seam_image import seams
from toolkit.runs.run import Run
from toolkit.sweeps.outcome import in_words
from toolkit.widgets.grid_view import Forecast
from toolkit.widgets.live_run import LiveRun, live
from toolkit.widgets.markup import page, refusal

REFERENCE = "the model's own untiled call"


class Trial:
    """A button that runs the current plan, a view of the run in progress, and its result.

    The model's own untiled call runs once, before the first plan; every run is compared with it.

    Args:
        vae: The model.
        latent: The latent to decode.
        cluster: The ranks; None means that nothing can be run.
        present: Function that returns the current plan and its prediction when the button is pressed.

    Attributes:
        widget: The widget that a notebook shows.
        run: The last successful run of a plan.
        reference: The run of the model's own untiled call.
        comparison: The comparison of the two.
        live: The view of the run in progress, or of the last one.
    """

    def __init__(
        self, vae: Any, latent: Tensor, *, cluster: Cluster | None, present: Callable[[], tuple[TilePlan, Forecast]]
    ) -> None:
        self._vae, self._latent, self._cluster, self._present = vae, latent, cluster, present
        self.run: Run | None = None
        self.reference: Run | None = None
        self.comparison: Comparison | None = None
        self.live: LiveRun | None = None
        self._thread = threading.Thread()
        self._button = Button(description="Run", tooltip="Decode with this plan.", tabbable=True)
        self._button.on_click(lambda button: self.start())
        self._note, self._watched, self._result = Label(), VBox(), HTML()
        self.widget: Widget = VBox([HBox([self._button, self._note]), self._watched, self._result])
        self.check()

    def check(self, error: str = "") -> None:
        """Show whether the current plan can be run, and why not if it cannot."""
        self._button.disabled = bool(note := self._obstacle(error))
        self._note.value = note

    def start(self) -> None:
        """Run the current plan, as the button does, on a thread so that the kernel stays free.

        Raises:
            ToolkitError: If the plan cannot be run.
        """
        if note := self._obstacle(""):
            raise ToolkitError(note)
        plan, forecast = self._present()
        self._thread = threading.Thread(target=self._try, args=(plan, forecast), name="toolkit-trial", daemon=True)
        self._thread.start()
        self.check()

    def cancel(self) -> None:
        """Cancel the run, and wait until it has ended."""
        if self.live is not None:
            self.live.cancel()
        self.wait()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds until the run has ended and its result is shown; returns whether it has."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def html(self) -> str:
        """What is shown now, for pages without a kernel."""
        return (self.live.html if self.live and not self._result.value else "") + str(self._result.value)

    def _obstacle(self, error: str) -> str:
        """Why the current plan cannot be run; empty if it can."""
        if self._cluster is None:
            return "There is no cluster to run on: pass explore(..., cluster=tk.Cluster(ranks))."
        if error:
            return "There is no plan to run."
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            return "A run is in progress."
        return ""

    def _try(self, plan: TilePlan, forecast: Forecast) -> None:
        self._result.value = ""
        try:
            if self.reference is None:
                if getattr(self._vae, "use_tiling", False):
                    raise PlanError(
                        f"{type(self._vae).__name__} has its own tiling enabled, but the reference must be untiled: "
                        "call disable_tiling() first."
                    )
                self.reference = self._watch(None, REFERENCE)
            self.run = self._watch(plan, plan.summary)
            self.comparison = compare(self.run, self.reference, reference_name=REFERENCE)
            self._result.value = _outcome(self.run, forecast, comparison=self.comparison)
        except RunCancelled:
            pass  # the view of the run says so
        except BaseException as error:  # on this thread nobody else would see it
            self._result.value = refusal("Measured", in_words(error))
        finally:
            self.check()

    def _watch(self, plan: TilePlan | None, title: str) -> Run:
        assert self._cluster is not None
        job = self._cluster.decode(self._vae, self._latent, plan, block=False, progress=False)
        self.live = live(job, title)
        self._watched.children = [self.live.widget]
        run: Run = self.live.result()
        return run


def _outcome(run: Run, forecast: Forecast, *, comparison: Comparison) -> str:
    """Measured numbers beside predicted ones, and the seams."""
    lines = [
        ["busiest rank computes", f"{forecast.slowest:.3g} s", f"{run.busy.max():.3g} s"],
        ["whole run, with output transfer", "", f"{run.seconds:.3g} s"],
        ["peak memory on a rank", in_bytes(forecast.peak), _peak(run.peaks)],
        ["PSNR", "", f"{comparison.psnr:.2f} dB"],
        ["largest error", "", f"{comparison.max_abs:.3g}"],
    ]
    if comparison.worst_seam is not None:
        lines.append(["worst seam, relative to the interior", "", f"{comparison.worst_seam:.2f}x"])
    rows = [[word(name), cell(predicted), cell(measured)] for name, predicted, measured in lines]
    figure = seams(comparison)
    drawn = figure.to_img()
    body = f'<div class="tk-row"><div>{table(["", "predicted", "measured"], rows)}</div><div>{drawn}</div></div>'
    return page("Measured", f"against {comparison.reference}", body=body)


def _peak(peaks: pd.Series) -> str:
    return in_bytes(int(peaks.max())) if len(peaks) else "not measured"
