"""The public files behind `craters`: where they are, how they are checked, and what they say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrow.errors import DataError, MissingExtraError

COMMIT = "646da4c518c1662fad6d3bb607cf04b77213ca7f"
BASE_URL = f"https://raw.githubusercontent.com/ieee8023/CraterDataset/{COMMIT}/"

REGIONS = ("West", "Center", "East")
TILES = ("1_24", "1_25", "2_24", "2_25", "3_24", "3_25")
TILE_SIDE = 1700
TILE_STRIDE = 1500  # neighbouring tiles share 200 pixels

SHA256: Mapping[str, str] = {
    "bandeira2010_candidates/1_24_tn.csv": "11600099b5c314da54eba7c872d7b780ccd21ee2a2bb2694146aa71441c65673",
    "bandeira2010_candidates/1_24_tp.csv": "ad8ee264b2c5ff33813c969ea7b34e5440b718e24b75d38b56f1dfb38bd3ec42",
    "bandeira2010_candidates/1_25_tn.csv": "2c2dc3cd6cd3245254ca4b30692671e59352ffae19cb7b9a0bf61c090d0a439b",
    "bandeira2010_candidates/1_25_tp.csv": "3e6df425de9839abdd748b0898a0fd6296960a33053efc39a1fc96d591c59c28",
    "bandeira2010_candidates/2_24_tn.csv": "d9cf3999e69ed0b8407aecb62ccbfb12f678fb947210854de85234d5cd9e3982",
    "bandeira2010_candidates/2_24_tp.csv": "d81089bf7c6248a6cdc63970f2d7a75fecc32acde516203b86f6c056ec19e3d2",
    "bandeira2010_candidates/2_25_tn.csv": "581d84dbd562366a50b7f1e2aed7f4326bf79510e140dd6b4527bba3810fcafb",
    "bandeira2010_candidates/2_25_tp.csv": "32d79c8387d6976017b8898cebc74fb5bf6d222f069d6845145e362e7c3467ef",
    "bandeira2010_candidates/3_24_tn.csv": "9fee00e78013265564a85c7bdacdd8a376dcf6bda84a454d6c66c2c2d1e94adc",
    "bandeira2010_candidates/3_24_tp.csv": "a51d013d0babc7de44b4c92f6e6b3e57356600cf80e215f69425c637b48c6d6d",
    "bandeira2010_candidates/3_25_tn.csv": "d51256ae1c7852ca17b9c64b32b54729b92982cd8015c9b29822c4b67ce3bff2",
    "bandeira2010_candidates/3_25_tp.csv": "c49a9c030d335c33304679460975d331751a48e43ea1e2cf4bdadb3d7e3fb83c",
    "urbach2009_tile_images/tile1_24.pgm": "69670909c13b442346295030d6f17ff52a97e941b222ec98ea3ffa33db3ec016",
    "urbach2009_tile_images/tile1_25.pgm": "d97270481cb63ecfd4c623ba64e1170accd0f8b7d9e0460306f4de5378d6cb75",
    "urbach2009_tile_images/tile2_24.pgm": "6dcbdd40fc6f9a2dde59208887e89940e2cd85be4a0e41100cedbe0edb281cd4",
    "urbach2009_tile_images/tile2_25.pgm": "7e120f2e7a1e976335ded1ebbc7d07974c1cf3b92f99e0e3c6d5ce6667cd0b9c",
    "urbach2009_tile_images/tile3_24.pgm": "8d4275e549204d81ffcbf9f0dbc704e776552e8ed8ed354c66b6f7ed6e71a4c0",
    "urbach2009_tile_images/tile3_25.pgm": "59a20dea750427009cd9ce70bee8a46ddcbdd747b32e9fd2e1a1585a188ecfcc",
}
"""Every file that is needed, by its path in the repository, and its hash."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """The crater candidates of all regions, in the order of the files: tile by tile, craters before the others.

    Attributes:
        labels: 1 = crater, 0 = not; int64 (N,).
        tile: Index into `TILES`, int64 (N,).
        xyr: Centre x and y, and the source's third column, in tile pixels; int64 (N, 3).
    """

    labels: NDArray[np.int64]
    tile: NDArray[np.int64]
    xyr: NDArray[np.int64]

    @property
    def region(self) -> NDArray[np.int64]:
        """Index into `REGIONS`, (N,): a region is two tiles."""
        return self.tile // 2


def fetch_files(cache_dir: Path | None, *, base_url: str = BASE_URL) -> Path:
    """Download the files that are not in the cache yet, and check every one by its hash."""
    try:
        import pooch  # noqa: PLC0415 # imports requests, which only a download needs
    except ImportError as error:
        raise MissingExtraError("pooch", extra="lab") from error
    folder = Path(pooch.os_cache("regrow")) if cache_dir is None else cache_dir
    folder = folder / f"craters-{COMMIT[:7]}"
    registry = {path: f"sha256:{digest}" for path, digest in SHA256.items()}
    store = pooch.create(path=folder, base_url=base_url, registry=registry)
    for path in SHA256:
        try:
            store.fetch(path)
        except (
            OSError,
            ValueError,
        ) as error:  # requests' errors are OSErrors, a wrong hash is a ValueError
            first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"craters: cannot fetch {path} from {base_url}: {first_line}. Without a network, put the "
                f"{len(SHA256)} files (urbach2009_tile_images/*.pgm, bandeira2010_candidates/*.csv of "
                f"github.com/ieee8023/CraterDataset at {COMMIT[:7]}) into a folder and name it by --data-dir"
            ) from error
    return folder


def find_files(data_dir: Path) -> Path | None:
    """Look for the repository's files in a folder or in its subfolder ``craters_raw``.

    Returns:
        The folder that holds all files, None if there is none of them.
    """
    for folder in (data_dir, data_dir / "craters_raw"):
        missing = [path for path in SHA256 if not (folder / path).is_file()]
        if not missing:
            return folder
        if len(missing) < len(SHA256):
            raise DataError(
                f"craters: {folder} must hold all {len(SHA256)} files of the source, "
                f"{len(missing)} are missing: {', '.join(missing)}"
            )
    return None


def _checked_bytes(folder: Path, path: str) -> bytes:
    """A file's content, if it is the published one: a truncated or edited file must not become a result."""
    try:
        content = (folder / path).read_bytes()
    except OSError as error:
        raise DataError(f"craters: cannot read {folder / path}: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256[path]:
        raise DataError(
            f"craters: {folder / path} must be the file of commit {COMMIT[:7]}, SHA-256 {SHA256[path][:12]}..., "
            f"got {digest[:12]}... ({len(content)} bytes)"
        )
    return content


def read_candidates(folder: Path) -> Candidates:
    """Read the twelve candidate lists."""
    labels: list[NDArray[np.int64]] = []
    tiles: list[NDArray[np.int64]] = []
    rows: list[NDArray[np.int64]] = []
    for index, tile in enumerate(TILES):
        for label, ending in ((1, "tp"), (0, "tn")):
            text = _checked_bytes(folder, f"bandeira2010_candidates/{tile}_{ending}.csv").decode(
                "ascii"
            )
            numbers = np.array([line.split(",") for line in text.split()], dtype=np.int64)
            rows.append(numbers)
            labels.append(np.full(len(numbers), label))
            tiles.append(np.full(len(numbers), index))
    return Candidates(
        labels=np.concatenate(labels), tile=np.concatenate(tiles), xyr=np.concatenate(rows)
    )


def read_tile(folder: Path, tile: int) -> NDArray[Any]:
    """Read one tile of the Martian surface."""
    content = _checked_bytes(folder, f"urbach2009_tile_images/tile{TILES[tile]}.pgm")
    # A binary PGM is a short text header and the bare pixels; the hash has settled that this is one.
    return np.frombuffer(content[-TILE_SIDE * TILE_SIDE :], np.uint8).reshape(TILE_SIDE, TILE_SIDE)
