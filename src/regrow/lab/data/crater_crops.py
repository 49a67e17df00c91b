"""Where a crater candidate is cut out of its tile, and how the cut becomes a small image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrow.lab.data.crater_files import TILE_SIDE


def crop_boxes(xyr: NDArray[np.int64]) -> NDArray[np.int64]:
    """The square around each candidate, about 2.2 r wide.

    With d = int(1.5 r):  side = int(1.5 d);  left = x - ceil(d / 2) - floor((d - 1) / 4);  top alike.

    The last term was fitted: 4,739 of the 4,860 crops that the data set's author published have
    exactly this box; nearly all others belong to near-duplicate candidates, whose published crops
    cannot be told apart. A square that begins one pixel before the tile begins with it. A candidate
    whose square leaves the tile further is not among those crops; there the plain quarter,
    floor(d / 4), is used.

    Args:
        xyr: Centre x, y and the source's third column r, int64 (N, 3), in tile pixels. Read, never
            written.

    Returns:
        left, top, side: int64 (N, 3), in tile pixels. The square may reach over the tile's edge.

    Examples:
        >>> crop_boxes(np.array([[953, 551, 12], [1675, 1657, 24]])).tolist()
        [[940, 538, 27], [1648, 1630, 54]]
    """
    diameter = np.floor(1.5 * xyr[:, 2]).astype(np.int64)
    side = np.floor(1.5 * diameter).astype(np.int64)
    half = (diameter + 1) // 2
    corner = xyr[:, :2] - (half + (diameter - 1) // 4)[:, None]
    plain = xyr[:, :2] - (half + diameter // 4)[:, None]
    leaves = np.any((plain < -1) | (corner + side[:, None] > TILE_SIDE), axis=1, keepdims=True)
    chosen = np.where(leaves, plain, corner)
    return np.column_stack([np.where(chosen == -1, 0, chosen), side])


def _area_weights(side: int, size: int) -> NDArray[np.float64]:
    """(size, side): how much of each source pixel lies in each target pixel, rows summing to 1."""
    edges = np.arange(size + 1) * (side / size)
    source = np.arange(side)
    overlap = np.minimum(edges[1:, None], source + 1) - np.maximum(edges[:-1, None], source)
    return np.clip(overlap, 0.0, None) * (size / side)


def _bilinear_weights(side: int, size: int) -> NDArray[np.float64]:
    """(size, side): linear interpolation between the two source pixels nearest to each target centre."""
    position = (np.arange(size) + 0.5) * (side / size) - 0.5
    below = np.floor(position).astype(np.int64)
    share = position - below
    weights = np.zeros((size, side))
    rows = np.arange(size)
    np.add.at(weights, (rows, np.clip(below, 0, side - 1)), 1.0 - share)
    np.add.at(weights, (rows, np.clip(below + 1, 0, side - 1)), share)
    return weights


def crop_and_resize(
    tile: NDArray[Any], boxes: NDArray[np.int64], *, size: int
) -> NDArray[np.uint8]:
    """Cut squares out of a tile and bring them to one size.

    15 x 15 by area average, as in the paper's code; any other size by bilinear interpolation
    without smoothing, as the 28 x 28 crops that its author published. Where a square leaves the
    tile, the edge's pixels are repeated.

    Examples:
        >>> tile = np.arange(900, dtype=np.uint8).reshape(30, 30) // 30 * 10
        >>> crop_and_resize(tile, np.array([[0, 0, 30]]), size=15)[0, :3, 0].tolist() == [
        ...     round(float(tile[2 * i : 2 * i + 2, :2].mean())) for i in range(3)
        ... ]
        True
    """
    make = _area_weights if size == 15 else _bilinear_weights
    weights = {int(side): make(int(side), size) for side in np.unique(boxes[:, 2])}
    result = np.empty((len(boxes), size, size), np.uint8)
    for row, (left, top, side) in enumerate(boxes.tolist()):
        down = np.clip(np.arange(top, top + side), 0, tile.shape[0] - 1)
        across = np.clip(np.arange(left, left + side), 0, tile.shape[1] - 1)
        crop = tile[np.ix_(down, across)].astype(np.float64)
        small = weights[side] @ crop @ weights[side].T
        result[row] = np.floor(small + 0.5)
    return result
