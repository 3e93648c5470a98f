"""A pipeline of the Hub becomes a folder; what hinders that is said."""

from __future__ import annotations

import pytest
from diffusers import DiffusionPipeline

import toolkit as tk


def test_only_what_is_safe_and_needed_is_asked_for(monkeypatch, tmp_path):
    asked = {}

    def downloaded(name, **wanted):
        asked.update(wanted, name=name)
        return str(tmp_path)

    monkeypatch.setattr(DiffusionPipeline, "download", downloaded)
    assert tk.download("some/pipeline", revision="v1", cache=tmp_path) == tmp_path
    assert asked == {
        "name": "some/pipeline",
        "revision": "v1",
        "variant": None,
        "cache_dir": tmp_path,
        "use_safetensors": True,
        "trust_remote_code": False,
    }


def test_diffusers_itself_refuses_what_is_no_name(tmp_path):
    with pytest.raises(tk.ToolkitError, match="'a/b/c/d' could not be downloaded"):
        tk.download("a/b/c/d", cache=tmp_path)


def test_a_hub_that_cannot_be_reached(monkeypatch):
    def unreachable(name, **wanted):
        raise ConnectionError("no route\nand a long story")

    monkeypatch.setattr(DiffusionPipeline, "download", unreachable)
    with pytest.raises(tk.ToolkitError, match=r"\(no route\): check the name and the network"):
        tk.download("some/pipeline")
