"""Training and test half of the crater candidates: at random, or with overlapping candidates on one side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regrow.lab.data.crater_files import TILE_STRIDE
from regrow.lab.data.split import frozen_generator, stratified_test_mask

SPLITS = ("half", "half_clean")


def overlap_groups(
    boxes: NDArray[np.int64], tile: NDArray[np.int64], *, threshold: float = 0.5
) -> NDArray[np.int64]:
    """Number the groups of candidates that show the same ground, wherever they come from.

    The detector proposes a spot more than once, and neighbouring tiles share 200 pixels. Two candidates are linked if
    the intersection of their squares is more than `threshold` of the union; a group is a connected set. Tile t is in
    column t // 2 and row t % 2 of the mosaic.
    """
    left = boxes[:, 0] + TILE_STRIDE * (tile // 2)
    top = boxes[:, 1] + TILE_STRIDE * (tile % 2)
    side = boxes[:, 2]
    root = list(range(len(boxes)))

    def find(item: int) -> int:
        while root[item] != item:
            item = root[item] = root[root[item]]
        return item

    for i in range(len(boxes)):
        rest = slice(i + 1, None)
        wide = np.minimum(left[i] + side[i], left[rest] + side[rest]) - np.maximum(
            left[i], left[rest]
        )
        high = np.minimum(top[i] + side[i], top[rest] + side[rest]) - np.maximum(top[i], top[rest])
        shared = np.clip(wide, 0, None) * np.clip(high, 0, None)
        linked = shared > threshold * (side[i] ** 2 + side[rest] ** 2 - shared)
        for j in np.flatnonzero(linked):
            # The direction of the union decides how groups are numbered, and so which side a seed puts them on.
            root[find(i + 1 + int(j))] = find(i)
    return np.unique([find(i) for i in range(len(boxes))], return_inverse=True)[1].astype(np.int64)


def held_out_half(
    split: str,
    *,
    labels: NDArray[np.int64],
    tile: NDArray[np.int64],
    boxes: NDArray[np.int64],
    seed: int,
) -> NDArray[np.bool_]:
    """Divide the candidates of all regions into two halves.

    ``half``        each region and each class is halved at random: the paper's protocol, whose own
                    split is unknown. The same ground may be seen on both sides.
    ``half_clean``  whole overlap groups are halved at random, over all regions at once: no ground is
                    seen on both sides, and the halves of a region are only about equal.
    """
    generator = frozen_generator(seed)
    if split == "half_clean":
        groups = overlap_groups(boxes, tile)
        side = generator.permutation(int(groups.max()) + 1) % 2
        return side[groups] == 1
    test = np.zeros(len(labels), bool)
    region = tile // 2
    for index in np.unique(region):
        rows = np.flatnonzero(region == index)
        test[rows] = stratified_test_mask(labels[rows], generator, where="craters")
    return test
