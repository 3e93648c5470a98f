"""A Jupyter server of its own for a test, and a page that reaches nothing else."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import psutil
import pytest
from nbformat.sign import NotebookNotary
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(os.environ.get("TOOLKIT_SCREENSHOTS", ROOT / "build" / "screenshots"))
VIEWPORT = {"width": 1300, "height": 1000}
SETTINGS: dict[str, dict[str, Any]] = {
    # A windowed notebook holds no cell that is out of sight.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


WATCH = """
box => {
  const taken = [];
  let begin = null;
  document.addEventListener('keydown', () => { begin = performance.now(); }, true);
  new MutationObserver(() => {
    if (begin !== null) { taken.push(performance.now() - begin); begin = null; }
  }).observe(box, {childList: true, subtree: true, characterData: true});
  window.taken = taken;
}
"""


class Server:
    """A Jupyter server: its settings, notebooks and kernels are nobody else's.

    Args:
        folder: an empty one, for all of its files.
        notebooks: the folder whose notebooks it serves a copy of.
    """

    def __init__(self, folder: Path, notebooks: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address, self.token = f"http://127.0.0.1:{port}", secrets.token_hex(16)
        self.folder = folder
        shutil.copytree(notebooks, folder / "notebooks", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        for name, values in SETTINGS.items():
            file = folder / "SETTINGS" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        places = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
        places |= {f"JUPYTERLAB_{name}_DIR": str(folder / name) for name in ("SETTINGS", "WORKSPACES")}
        settings = {
            "ServerApp.port": port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": folder / "notebooks",
            "IdentityProvider.token": self.token,
            "LabApp.expose_app_in_browser": True,
            "LabApp.news_url": None,
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._log = (folder / "log").open("w+")
        self.process = psutil.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *options],
            env={**os.environ, **places, "OMP_NUM_THREADS": "1"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait(self, seconds: float = 60) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with urlopen(f"{self.address}/api?token={self.token}", timeout=5):
                    return
            except (URLError, TimeoutError):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self._log.seek(0)
                    pytest.fail(f"the Jupyter server did not start:\n{self._log.read()[-3000:]}")
                time.sleep(0.1)

    def trust(self, path: Path) -> None:
        """Serve a copy of a notebook, as one that was run here: its HTML is then shown as it is."""
        copy = self.folder / "notebooks" / path.name
        shutil.copy(path, copy)
        notary = NotebookNotary(data_dir=str(self.folder / "DATA"))
        notary.sign(nbformat.read(copy, as_version=4))
        notary.store.close()

    def workers(self) -> list[psutil.Process]:
        """The ranks of all clusters: forked by a fork server, whose command line they have."""
        servers = {p.pid: p for p in self.process.children(recursive=True) if "forkserver" in " ".join(command(p))}
        return [process for process in servers.values() if process.ppid() in servers]

    def close(self) -> None:
        """End it and its kernels."""
        everyone = [*self.process.children(recursive=True), self.process]
        self.process.terminate()
        _, alive = psutil.wait_procs(everyone, timeout=10)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=5)
        self._log.close()


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


class Guard:
    """Lets a page reach this machine only, and remembers what it asked for beside."""

    def __init__(self, context: BrowserContext) -> None:
        self.refused: list[str] = []
        self.errors: list[str] = []
        context.route("**/*", self._decide)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _decide(self, route: Route) -> None:
        address = route.request.url
        if address.startswith(("http://127.0.0.1:", "data:", "blob:", "file:")):
            route.continue_()
        else:
            self.refused.append(address)
            route.abort()


def shoot(page: Page, name: str) -> None:
    """Keep a picture of the page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


class Board:
    """The widget whose drawing has a heading.

    Args:
        page: the page.
        heading: the heading.
        nth: which of those that have it.
    """

    def __init__(self, page: Page, heading: str, nth: int = 0) -> None:
        self.page = page
        named = page.locator(".tk-view b", has_text=re.compile(f"^{heading}$"))
        self.box = page.locator(".widget-vbox").filter(has=named).nth(nth)

    @property
    def drawing(self) -> Locator:
        return self.box.locator(".widget-html-content, .tk-clickable").first

    def slider(self, name: str) -> Locator:
        """The handle of a slider, by what is written before it."""
        named = self.box.locator(".widget-slider").filter(has=self.page.get_by_text(name, exact=True))
        return named.locator(".noUi-handle")

    def sliders(self) -> list[str]:
        return self.box.locator(".widget-slider .widget-label").all_inner_texts()

    def press(self, name: str, key: str) -> None:
        """Move a slider by a key, and wait until the drawing has followed."""
        before, handle = self.drawing.inner_html(), self.slider(name)
        handle.focus()
        handle.press(key)
        expect(self.drawing).not_to_have_js_property("innerHTML", before)

    def choose(self, name: str, key: str) -> str:
        """Open a list, move in it by a key and choose; returns what is chosen then."""
        before = self.drawing.inner_html()
        select = self.box.get_by_label(name, exact=True)
        select.focus()
        for pressed in ("Space", key, "Enter"):
            self.page.keyboard.press(pressed)
        expect(self.drawing).not_to_have_js_property("innerHTML", before)
        return select.input_value()

    def latencies(self, name: str, keys: list[str]) -> list[float]:
        """Press keys, wait for the drawing after each, and return how long it took in ms by the page's own clock.

        To print, not to test: the machine is shared.
        """
        self.page.evaluate(WATCH, self.drawing.element_handle())
        handle = self.slider(name)
        handle.focus()
        for count, key in enumerate(keys, start=1):
            handle.press(key)
            self.page.wait_for_function(f"window.taken.length === {count}")
        taken: list[float] = self.page.evaluate("window.taken")
        return taken

    def click(self, name: str) -> None:
        """Press a button."""
        self.box.get_by_role("button", name=name, exact=True).click()
