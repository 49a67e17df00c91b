"""Squares around candidates, and their reduction to small images."""

from __future__ import annotations

import numpy as np
import pytest

from regrow.lab.data.crater_files import TILE_SIDE
from regrow.lab.data.craters import crop_and_resize, crop_boxes


def test_squares_by_hand() -> None:
    # r = 11: d = 16, side 24, 8 + 3 before the centre. r = 13: d = 19, side 28, 10 + 4.
    boxes = crop_boxes(np.array([[100, 200, 11], [100, 200, 13], [100, 200, 25]]))
    assert boxes.tolist() == [[89, 189, 24], [86, 186, 28], [72, 172, 55]]


def test_a_square_over_the_edge_takes_the_plain_quarter() -> None:
    # r = 24: d = 36, so the plain quarter is one pixel more than inside the tile.
    inside, right, low = crop_boxes(
        np.array([[900, 900, 24], [1675, 900, 24], [900, 10, 24]])
    ).tolist()
    assert inside == [874, 874, 54]
    assert right == [1648, 873, 54]
    assert low == [873, -17, 54]


def test_one_pixel_before_the_tile_is_moved_onto_it() -> None:
    assert crop_boxes(np.array([[719, 19, 18]])).tolist() == [[699, 0, 40]]


def test_the_square_holds_the_centre_in_its_middle() -> None:
    r = np.arange(10, 90)
    boxes = crop_boxes(np.column_stack([np.full_like(r, TILE_SIDE // 2)] * 2 + [r]))
    middle = boxes[:, 0] + boxes[:, 2] / 2
    assert np.abs(middle - TILE_SIDE // 2).max() <= 1.5
    np.testing.assert_allclose(boxes[:, 2] / r, 2.2, atol=0.1)


def area_average(crop: np.ndarray, size: int) -> np.ndarray:
    """The slow, obvious way: every pixel is cut into size x size equal parts, then whole blocks are averaged."""
    fine = np.repeat(np.repeat(crop.astype(np.float64), size, 0), size, 1)
    side = len(crop)
    return fine.reshape(size, side, size, side).mean((1, 3))


@pytest.mark.parametrize("side", [15, 22, 45, 55])
def test_fifteen_pixels_are_area_averages(side: int) -> None:
    tile = np.random.default_rng(side).integers(0, 256, (80, 90)).astype(np.uint8)
    got = crop_and_resize(tile, np.array([[7, 3, side]]), size=15)[0]
    expected = area_average(tile[3 : 3 + side, 7 : 7 + side], 15)
    assert np.abs(got - expected).max() <= 0.5 + 1e-9


def test_a_square_of_the_final_size_is_copied() -> None:
    tile = np.random.default_rng(0).integers(0, 256, (60, 60)).astype(np.uint8)
    np.testing.assert_array_equal(
        crop_and_resize(tile, np.array([[5, 9, 28]]), size=28)[0], tile[9:37, 5:33]
    )


def test_bilinear_interpolation_keeps_a_ramp() -> None:
    tile = np.tile(np.arange(0, 240, 2, dtype=np.uint8), (120, 1))
    got = crop_and_resize(tile, np.array([[10, 10, 56]]), size=28)[0]
    # Centres lie at 0.5, 2.5, ... source pixels; two grey values a pixel.
    np.testing.assert_array_equal(got[3], 20 + 2 * (2 * np.arange(28) + 0.5))


@pytest.mark.parametrize("size", [15, 28])
def test_the_edge_is_repeated_outside_the_tile(size: int) -> None:
    tile = np.full((50, 50), 90, np.uint8)
    tile[:, 0], tile[-1] = 10, 200
    got = crop_and_resize(tile, np.array([[-40, 0, 40], [5, 50, 30]]), size=size)
    assert (got[0][:-4] == 10).all()
    assert (got[1] == 200).all()
