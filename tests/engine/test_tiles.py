"""A tile has as many samples as stay in the cache: by the network and the batch, never by its neighbours."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.nets import everything
from regrow.engine import program_of
from regrow.engine.places import Places
from regrow.engine.tiles import LEAST, ROOM, samples_of_tile
from regrow.lab.models.cratercnn import CraterCNN
from regrow.lab.models.settings import CraterCNNSettings


def crater(filters: int) -> nn.Module:
    settings = CraterCNNSettings(filters=filters, dense=4)
    return CraterCNN(in_channels=1, image_size=(15, 15), classes=2, settings=settings)


@pytest.mark.parametrize(
    ("filters", "numbers"),
    # Rows of U (with the ones') times its height and width; the second layer's is the larger.
    [(2, (2 * 4 + 1) * 12 * 9), (20, (20 * 4 + 1) * 12 * 9)],
)
def test_the_largest_unfolded_input_has_room(filters: int, numbers: int) -> None:
    program = program_of(crater(filters))
    found = samples_of_tile(program, (1, 15, 15), dtype=torch.float32)
    assert found == ROOM // (4 * numbers)
    assert samples_of_tile(program, (1, 15, 15), dtype=torch.float64) == max(LEAST, found // 2)


def test_borders_pools_and_other_images() -> None:
    program = program_of(everything())
    # 8x8 with a border: 3 * 10 * 8; then 5 * 2 on 10 * 7; behind the pool 6 * 2 + 1 on 4 * 2.
    assert samples_of_tile(program, (1, 8, 8), dtype=torch.float64) == ROOM // (8 * 700)
    assert samples_of_tile(program, (64,), dtype=torch.float64) == LEAST


@pytest.mark.parametrize(
    ("samples", "tile", "tiles"),
    [
        (32, 32, 1),
        (48, 32, 1),
        (64, 32, 2),
        (128, 32, 4),
        (128, 300, 1),
        (611, 32, 13),
        (53, 32, 1),
    ],
)
def test_a_batch_is_cut_into_equal_parts(samples: int, tile: int, tiles: int) -> None:
    cpu = torch.device("cpu")
    for networks in (1, 3):
        places = Places(
            networks=networks,
            samples=samples,
            tile=tile,
            batched=False,
            device=cpu,
            dtype=torch.float32,
        )
        assert places.tiles == tiles
