"""Halves of the candidates."""

from __future__ import annotations

import numpy as np
import pytest

from regrow.lab.data.crater_files import TILE_STRIDE
from regrow.lab.data.crater_split import SPLITS, held_out_half, overlap_groups


def candidates(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, tiles and boxes, crowded enough to overlap."""
    generator = np.random.default_rng(0)
    boxes = np.column_stack(
        [generator.integers(0, 120, (count, 2)), generator.integers(15, 25, count)]
    )
    return generator.integers(0, 2, count), np.sort(generator.integers(0, 6, count)), boxes


def slow_groups(boxes: np.ndarray, tile: np.ndarray) -> list[set[int]]:
    """Painted pixel sets, merged until nothing changes."""
    painted = [
        {
            (x + TILE_STRIDE * (t // 2), y + TILE_STRIDE * (t % 2))
            for x in range(left, left + side)
            for y in range(top, top + side)
        }
        for (left, top, side), t in zip(boxes.tolist(), tile.tolist(), strict=True)
    ]
    groups = [{i} for i in range(len(boxes))]
    for i in range(len(boxes)):
        for j in range(i):
            if len(painted[i] & painted[j]) > 0.5 * len(painted[i] | painted[j]):
                one = next(group for group in groups if i in group)
                two = next(group for group in groups if j in group)
                if one is not two:
                    groups.remove(two)
                    one |= two
    return groups


def test_groups_are_the_connected_sets_of_overlapping_squares() -> None:
    _, tile, boxes = candidates(150)
    got = overlap_groups(boxes, tile)
    expected = slow_groups(boxes, tile)
    assert {frozenset(np.flatnonzero(got == group).tolist()) for group in np.unique(got)} == {
        frozenset(group) for group in expected
    }
    assert 1 < len(expected) < 150  # the case is neither trivial way


def test_neighbouring_tiles_are_laid_beside_each_other() -> None:
    boxes = np.array([[10, 1550, 20], [11, 50, 20], [10, 1550, 20]])
    groups = overlap_groups(boxes, np.array([0, 1, 2]))
    assert groups[0] == groups[1] != groups[2]


def test_half_divides_each_region_and_class() -> None:
    labels, tile, boxes = candidates(400)
    test = held_out_half("half", labels=labels, tile=tile, boxes=boxes, seed=5)
    for region in range(3):
        for label in (0, 1):
            cell = test[(tile // 2 == region) & (labels == label)]
            assert int(cell.sum()) == len(cell) - len(cell) // 2


def test_half_clean_keeps_groups_whole() -> None:
    labels, tile, boxes = candidates(400)
    test = held_out_half("half_clean", labels=labels, tile=tile, boxes=boxes, seed=5)
    groups = overlap_groups(boxes, tile)
    for group in np.unique(groups):
        assert len(set(test[groups == group].tolist())) == 1
    sides = [test[groups == group][0] for group in np.unique(groups)]
    assert abs(2 * sum(sides) - len(sides)) <= 1


@pytest.mark.parametrize("split", SPLITS)
def test_the_seed_decides(split: str) -> None:
    labels, tile, boxes = candidates(100)
    first, again, other = (
        held_out_half(split, labels=labels, tile=tile, boxes=boxes, seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
