"""Finding, fetching and checking the source's files, with small files in place of the published ones."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from regrow.errors import DataError
from regrow.lab.data import crater_files
from regrow.lab.data.crater_files import (
    SHA256,
    TILES,
    fetch_files,
    find_files,
    read_candidates,
    read_tile,
)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins with the published names: two candidates a list, white tiles with one dark row."""
    folder = tmp_path / "source"
    hashes: dict[str, str] = {}
    tile = np.full((1700, 1700), 255, np.uint8)
    tile[3] = 7
    for number, path in enumerate(SHA256):
        content = f"{number},20,30\n40,50,60\n".encode()
        if path.endswith(".pgm"):
            content = b"P5\n1700 1700\n255\n" + tile.tobytes()
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        hashes[path] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(crater_files, "SHA256", hashes)
    return folder


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(source: Path) -> Iterator[str]:
    """The same folder behind a web server on this machine."""
    handler = functools.partial(_Quiet, directory=str(source))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_the_list_names_six_tiles_and_twelve_candidate_lists() -> None:
    assert len([path for path in SHA256 if path.endswith(".pgm")]) == len(TILES) == 6
    assert len([path for path in SHA256 if path.endswith(".csv")]) == 12
    assert all(len(digest) == 64 for digest in SHA256.values())


def test_fetched_once_then_kept(served: str, source: Path, tmp_path: Path) -> None:
    folder = fetch_files(tmp_path / "cache", base_url=served)
    for path in SHA256:
        assert (folder / path).read_bytes() == (source / path).read_bytes()
    unreachable = "http://127.0.0.1:9/"
    assert fetch_files(tmp_path / "cache", base_url=unreachable) == folder


def test_a_download_that_is_not_the_published_file(
    served: str, source: Path, tmp_path: Path
) -> None:
    (source / "bandeira2010_candidates" / "1_24_tn.csv").write_text("1,2,3\n")
    with pytest.raises(
        DataError, match=r"craters: cannot fetch bandeira2010_candidates/1_24_tn\.csv"
    ):
        fetch_files(tmp_path / "cache", base_url=served)


def test_a_missing_download(served: str, source: Path, tmp_path: Path) -> None:
    (source / "bandeira2010_candidates" / "1_24_tn.csv").unlink()
    with pytest.raises(DataError, match="404"):
        fetch_files(tmp_path / "cache", base_url=served)


def test_no_network_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"18 files .* into a folder and name it by --data-dir"
    ) as caught:
        fetch_files(tmp_path / "cache", base_url="http://127.0.0.1:9/")
    assert "\n" not in str(caught.value)
    assert "bandeira2010_candidates/1_24_tn.csv" in str(caught.value)


def test_a_cache_that_cannot_be_written(served: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in place of the folder")
    with pytest.raises(DataError, match="craters: cannot fetch"):
        fetch_files(tmp_path / "cache", base_url=served)


def test_found_directly_and_under_craters_raw(source: Path, tmp_path: Path) -> None:
    assert find_files(source) == source
    data = tmp_path / "data"
    data.mkdir()
    assert find_files(data) is None
    source.rename(data / "craters_raw")
    assert find_files(data) == data / "craters_raw"


def test_missing_files_are_named(source: Path) -> None:
    (source / "bandeira2010_candidates" / "2_25_tp.csv").unlink()
    with pytest.raises(DataError, match=r"1 are missing: bandeira2010_candidates/2_25_tp\.csv"):
        find_files(source)


def test_candidates_come_in_the_files_order(source: Path) -> None:
    found = read_candidates(source)
    assert found.labels.tolist() == [1, 1, 0, 0] * 6
    assert found.tile.tolist() == [tile for tile in range(6) for _ in range(4)]
    assert found.region.tolist() == [region for region in range(3) for _ in range(8)]
    # Of each tile the list of craters (odd number in SHA256) comes first.
    assert found.xyr[:4].tolist() == [[1, 20, 30], [40, 50, 60], [0, 20, 30], [40, 50, 60]]


def test_rows_of_a_tile_run_from_the_top(source: Path) -> None:
    tile = read_tile(source, 0)
    assert tile.shape == (1700, 1700)
    assert np.flatnonzero((tile == 7).all(axis=1)).tolist() == [3]


def test_truncated_files_are_refused(source: Path) -> None:
    for path, read in (
        ("urbach2009_tile_images/tile1_24.pgm", lambda: read_tile(source, 0)),
        ("bandeira2010_candidates/1_24_tp.csv", lambda: read_candidates(source)),
    ):
        whole = (source / path).read_bytes()
        (source / path).write_bytes(whole[:-10])
        with pytest.raises(
            DataError,
            match=rf"{path} must be the file of commit 646da4c, .* \({len(whole) - 10} bytes\)",
        ):
            read()
