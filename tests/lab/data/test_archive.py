"""Damaged archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regrow.errors import DataError
from regrow.lab.data.archive import read_archive


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "a.npz"
    generator = np.random.default_rng(0)
    np.savez_compressed(path, x=generator.integers(0, 256, 5000), y=np.arange(3))
    return path


def test_reads_what_is_asked_for(archive: Path) -> None:
    assert list(read_archive(archive, ("y",), optional=("z",))) == ["y"]
    assert list(read_archive(archive, ("y",), optional=("x",))) == ["y", "x"]


def test_a_missing_key_is_told_with_what_there_is(archive: Path) -> None:
    with pytest.raises(
        DataError, match="must hold the arrays x, labels; missing: labels; it holds: x, y"
    ):
        read_archive(archive, ("x", "labels"))


@pytest.mark.parametrize("kept", [0, 1, 100, 3000])
def test_a_truncated_archive(archive: Path, kept: int) -> None:
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"a\.npz: must be a readable \.npz file"):
        read_archive(archive, ("x",))


def test_damage_inside_an_array_names_the_array(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[400:420] = bytes(20)
    archive.write_bytes(bytes(content))
    with pytest.raises(DataError, match="array x: ") as caught:
        read_archive(archive, ("x",))
    assert "\n" not in str(caught.value)


def test_no_archive_a_folder_and_another_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is nothing"):
        read_archive(tmp_path / "b.npz", ("x",))
    with pytest.raises(DataError, match="there is a folder"):
        read_archive(tmp_path, ("x",))
    np.save(tmp_path / "c.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"must be a readable \.npz file: File is not a zip file"):
        read_archive(tmp_path / "c.npy", ("x",))


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="array x: Object arrays cannot be loaded"):
        read_archive(tmp_path / "p.npz", ("x",))
