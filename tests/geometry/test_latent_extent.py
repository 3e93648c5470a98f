"""A grid is made from what is at hand, and a tensor is never printed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.errors import PlanError
from toolkit.geometry import TileGrid
from toolkit.geometry.latent_extent import MEANT

BY_NAME = TileGrid.cover({"h": 60, "w": 104}, tile=32, overlap=8)


@pytest.mark.parametrize(
    "latent",
    [
        torch.zeros(1, 16, 60, 104),
        torch.zeros(1, 16, 21, 60, 104),
        torch.zeros(1, 16, 60, 104).shape,
        np.zeros((1, 16, 21, 60, 104)),
        [1, 16, np.int64(60), 104],
    ],
    ids=["image", "video", "torch.Size", "array", "list"],
)
def test_a_latent_or_its_shape_stands_for_its_sizes(latent):
    assert TileGrid.cover(latent, tile=32, overlap=8) == BY_NAME
    assert TileGrid.strided(latent, tile=32, stride=24) == TileGrid.strided({"h": 60, "w": 104}, 32, 24)


def test_time_is_divided_where_a_tile_names_it():
    latent = torch.zeros(1, 16, 21, 60, 104)
    assert TileGrid.cover(latent, tile={"t": 8, "h": 32, "w": 32}, overlap=4).axes == ("t", "h", "w")
    with pytest.raises(PlanError):
        TileGrid.cover(latent[:, :, 0], tile={"t": 8, "h": 32, "w": 32})


@pytest.mark.parametrize(
    "wrong", [torch.zeros(60, 104), torch.zeros(3), (1, 16, 60.0, 104), 7, "h", None, torch.nn.ReLU()]
)
def test_what_has_no_sizes_is_refused_without_being_printed(wrong):
    with pytest.raises(PlanError, match="a latent or its shape") as caught:
        TileGrid.cover(wrong, tile=2)
    assert len(str(caught.value)) < 200
    assert "tensor(" not in str(caught.value)


@pytest.mark.parametrize("name", MEANT)
def test_names_of_other_libraries_are_refused_with_ours(name):
    with pytest.raises(PlanError, match=f"axis '{name}'.*use '{MEANT[name]}'"):
        TileGrid.cover({name: 60}, tile=32)
