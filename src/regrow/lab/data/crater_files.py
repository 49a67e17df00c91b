"""The public files behind `craters`: where they are, how they are checked, and what they say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
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

_LIST = files("regrow.lab.data").joinpath("craters.sha256").read_text(encoding="utf-8")

SHA256: Mapping[str, str] = {path: digest for digest, path in map(str.split, _LIST.splitlines())}
"""Every file that is needed, by its path in the repository, and its hash; `sha256sum -c` reads the list as well."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """The crater candidates of all regions, in the order of the files: tile by tile, craters before the others."""

    labels: NDArray[np.int64]  # 1 = crater, 0 = not; int64 (N,)
    tile: NDArray[np.int64]  # index into `TILES`, int64 (N,)
    # Centre x and y, and the source's third column, in tile pixels; int64 (N, 3).
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
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"craters: cannot fetch {path} from {base_url}: {first_line}. Without a network, put the "
                f"{len(SHA256)} files (urbach2009_tile_images/*.pgm, bandeira2010_candidates/*.csv of "
                f"github.com/ieee8023/CraterDataset at {COMMIT[:7]}) into a folder and name it by --data-dir"
            ) from error
    return folder


def find_files(data_dir: Path) -> Path | None:
    """The folder, or its subfolder ``craters_raw``, that holds all files of the source; None: it has none of them."""
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
