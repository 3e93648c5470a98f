"""Loading, watched in a process of its own: one that has lived for long has room that nobody sees it fill."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch

from toolkit.geometry.span import Span
from toolkit.models.transformers.stage_loading import load_stage


def loaded_elsewhere(folder: Path, span: Span | None) -> tuple[int, int]:
    """Bytes that a Wan transformer (of which only ``span``'s layers are loaded) holds, and the growth to its peak."""
    with multiprocessing.get_context("spawn").Pool(1) as one:
        return one.apply(_load, (folder, span))


def _load(folder: Path, span: Span | None) -> tuple[int, int]:
    def load() -> Any:
        if span is None:
            return diffusers.WanTransformer3DModel.from_pretrained(folder, torch_dtype=torch.bfloat16)
        return load_stage(folder, [span], torch_dtype=torch.bfloat16)

    assert diffusers.WanTransformer3DModel  # diffusers imports its classes when they are first named
    model, peak = _watched(load)
    return sum(p.numel() * p.element_size() for p in model.parameters() if not p.is_meta), peak


def _watched(load: Callable[[], Any]) -> tuple[Any, int]:
    """What ``load`` returns, and by how many bytes the memory of this process that maps no file grew at most."""
    done, peak = threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.0005):
            peak[0] = max(peak[0], _anonymous())

    before = _anonymous()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        loaded = load()
        peak[0] = max(peak[0], _anonymous())
    finally:
        done.set()
        watcher.join()
    return loaded, peak[0] - before


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
