"""`craters`: Martian crater candidates, the two-class set of the RandomOut paper, cut out of their tiles.

Called by `lab/data/registry.py`; `crater_files` reads the source, `crater_split` halves the candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from regrow.errors import DataError
from regrow.lab.data import crater_files as source
from regrow.lab.data.archive import read_archive
from regrow.lab.data.crater_split import held_out_half
from regrow.lab.data.dataset import CommonSettings, RawImages
from regrow.lab.data.split import SplitSeed


class CraterSettings(CommonSettings):
    """Settings of `craters`."""

    # ``East`` (458 craters, 765 others), ``West`` (1121, 1385) or ``Center`` (443, 738; not in the paper).
    region: Literal["West", "Center", "East"] = "East"
    # ``half`` or ``half_clean``; see `regrow.lab.data.crater_split.held_out_half`.
    split: Literal["half", "half_clean"] = "half"
    size: Literal[15, 28] = 15  # height and width in pixels, 15 (the paper) or 28
    # Seed of the split. Seed 0 gives the split of a prepared ``craters.npz``.
    split_seed: SplitSeed = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class CraterTable:
    """All candidates with their squares, and the images of one region."""

    labels: NDArray[np.int64]  # 1 = crater, int64 (N,)
    tile: NDArray[np.int64]  # index of the tile, int64 (N,)
    boxes: NDArray[np.int64]  # left, top, side in tile pixels, int64 (N, 3)
    # Of the region's candidates alone, uint8 (R, size, size), in the order of the table.
    images: NDArray[np.uint8]
    origin: str  # where the table came from


def crop_boxes(xyr: NDArray[np.int64]) -> NDArray[np.int64]:
    """The square around each candidate (centre x, y, and r): left, top and side, about 2.2 r wide, in tile pixels.

    With d = int(1.5 r):  side = int(1.5 d);  left = x - ceil(d / 2) - floor((d - 1) / 4);  top alike.

    The last term was fitted: 4,739 of the 4,860 crops that the data set's author published have exactly this box;
    nearly all others belong to near-duplicate candidates, whose published crops cannot be told apart. A square that
    begins one pixel before the tile begins with it. A candidate whose square leaves the tile further is not among those
    crops; there the plain quarter, floor(d / 4), is used, and the square may reach over the tile's edge.
    """
    diameter = np.floor(1.5 * xyr[:, 2]).astype(np.int64)
    side = np.floor(1.5 * diameter).astype(np.int64)
    half = (diameter + 1) // 2
    corner = xyr[:, :2] - (half + (diameter - 1) // 4)[:, None]
    plain = xyr[:, :2] - (half + diameter // 4)[:, None]
    leaves = np.any(
        (plain < -1) | (corner + side[:, None] > source.TILE_SIDE), axis=1, keepdims=True
    )
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
    """Cut squares out of a tile and bring them to one size; where a square leaves it, the edge's pixels are repeated.

    15 x 15 by area average, as in the paper's code; any other size by bilinear interpolation without smoothing, as the
    28 x 28 crops that its author published.
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


def build_table(folder: Path, *, region: int, size: int) -> CraterTable:
    """Cut the candidates out of the published tiles: tile by tile, craters before the others, as the source's files."""
    candidates = source.read_candidates(folder)
    boxes = crop_boxes(candidates.xyr)
    crops = [
        crop_and_resize(source.read_tile(folder, tile), boxes[candidates.tile == tile], size=size)
        for tile in (2 * region, 2 * region + 1)
    ]
    return CraterTable(
        labels=candidates.labels,
        tile=candidates.tile,
        boxes=boxes,
        images=np.concatenate(crops),
        origin=f"ieee8023/CraterDataset at {source.COMMIT[:7]}",
    )


def read_table(path: Path, *, region: int, size: int) -> CraterTable:
    """Read a prepared ``craters.npz``: the arrays ``images`` or ``images28``, ``labels``, ``tile`` and ``box``."""
    key = "images" if size == 15 else f"images{size}"
    arrays: dict[str, NDArray[Any]] = read_archive(path, (key, "labels", "tile", "box"))
    images, labels, tile, boxes = (arrays[name] for name in (key, "labels", "tile", "box"))
    count = len(labels)
    expected = {key: (count, size, size), "labels": (count,), "tile": (count,), "box": (count, 3)}
    for name, shape in expected.items():
        if arrays[name].shape != shape or not np.issubdtype(arrays[name].dtype, np.integer):
            raise DataError(
                f"{path}: {name} must hold integers of shape {shape}, got {arrays[name].dtype} {arrays[name].shape}"
            )
    if images.dtype != np.uint8:
        raise DataError(f"{path}: {key} must be uint8, got {images.dtype}")
    for name, values, high in (("labels", labels, 1), ("tile", tile, 2 * len(source.REGIONS) - 1)):
        if values.min(initial=0) < 0 or values.max(initial=0) > high:
            raise DataError(
                f"{path}: {name} must be within 0..{high}, got {values.min()}..{values.max()}"
            )
    chosen = tile // 2 == region
    if not chosen.any():
        raise DataError(
            f"{path}: must hold candidates of region {source.REGIONS[region]}, got none"
        )
    return CraterTable(
        labels=labels.astype(np.int64),
        tile=tile.astype(np.int64),
        boxes=boxes.astype(np.int64),
        images=images[chosen],
        origin=path.name,
    )


def read_craters(
    settings: CraterSettings, data_dir: Path | None, *, cache_dir: Path | None = None
) -> RawImages:
    """Read one region's candidates: ``craters.npz`` or the source's files in a folder; without one, fetched once.

    Both ways give the same labels, order and split. The images differ slightly where near-duplicate candidates were
    told apart differently (about 1 row in 40, squares at most 2 pixels apart) and by single grey values elsewhere.

    Source:
        Bandeira, Ding, Stepinski, "Automatic Detection of Sub-km Craters Using Shape and Texture Information", LPSC
        2010; tiles after Urbach and Stepinski, "Automatic detection of sub-km craters in high resolution planetary
        images", Planetary and Space Science 57, 2009. Files: https://github.com/ieee8023/CraterDataset.
    """
    region = source.REGIONS.index(settings.region)
    if data_dir is None:
        table = build_table(source.fetch_files(cache_dir), region=region, size=settings.size)
    elif (data_dir / "craters.npz").is_file():
        table = read_table(data_dir / "craters.npz", region=region, size=settings.size)
    else:
        folder = source.find_files(data_dir)
        if folder is None:
            raise DataError(
                f"craters: {data_dir} must hold craters.npz, or urbach2009_tile_images/ and bandeira2010_candidates/ "
                f"of github.com/ieee8023/CraterDataset (also in a subfolder craters_raw), got neither"
            )
        table = build_table(folder, region=region, size=settings.size)
    test = held_out_half(
        settings.split,
        labels=table.labels,
        tile=table.tile,
        boxes=table.boxes,
        seed=settings.split_seed,
    )
    chosen = table.tile // 2 == region
    return RawImages.divided(
        table.images[:, None],
        table.labels[chosen],
        test=test[chosen],
        seed=settings.split_seed,
        classes=("other", "crater"),
        origin=f"craters {settings.region} from {table.origin}",
        split=f"{settings.split}, seed {settings.split_seed}",
    )
