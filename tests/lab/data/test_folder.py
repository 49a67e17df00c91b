"""The user's own image files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regrow.errors import ConfigError, DataError
from regrow.lab.data import load
from regrow.lab.data.folder import FolderSettings, read_folder
from regrow.lab.settings import read_settings


def picture(path: Path, value: int, *, mode: str = "L", size: tuple[int, int] = (6, 5)) -> None:
    """A picture of one value but for its first pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(
        (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0]), value, np.uint8
    )
    pixels[0, 0] = 0
    Image.fromarray(pixels).save(path)


def flat(root: Path, *, count: int = 4, **options: Any) -> Path:
    for label, name in enumerate(("cat", "dog")):
        for number in range(count):
            picture(root / name / f"{number}.png", 100 * label + 10 * number + 20, **options)
    return root


def test_train_and_test_folders(tmp_path: Path) -> None:
    flat(tmp_path / "train", count=3)
    flat(tmp_path / "test", count=2)
    (tmp_path / "train" / "cat" / ".DS_Store").write_text("hidden files are passed over")
    data = load(f"folder:{tmp_path}", settings={"scale": "unit"})
    assert tuple(data.x_train.shape) == (6, 1, 5, 6)
    assert data.meta["counts"] == {"cat": [3, 2], "dog": [3, 2]}
    # The label belongs to its image: cats are darker than 100, dogs are not.
    assert torch_equal((data.x_train[:, 0, 1, 1] * 255 >= 100).long(), data.y_train)


def torch_equal(left: Any, right: Any) -> bool:
    return bool((left == right).all())


def test_one_folder_a_class_is_split_by_seed(tmp_path: Path) -> None:
    flat(tmp_path, count=8)
    name = f"folder:{tmp_path}"
    half = load(name)
    quarter = load(name, settings={"test_fraction": 0.25})
    other = load(name, settings={"split_seed": 1})
    assert half.meta["counts"] == {"cat": [4, 4], "dog": [4, 4]}
    assert quarter.meta["counts"] == {"cat": [6, 2], "dog": [6, 2]}
    assert half.meta["sha256"] == load(name).meta["sha256"] != other.meta["sha256"]


def test_colour(tmp_path: Path) -> None:
    flat(tmp_path)
    picture(tmp_path / "dog" / "colour.png", 60, mode="RGB")
    name = f"folder:{tmp_path}"
    assert load(name).sizes["in_channels"] == 3
    assert load(name, settings={"colour": "grey"}).sizes["in_channels"] == 1
    (tmp_path / "dog" / "colour.png").unlink()
    assert load(name).sizes["in_channels"] == 1
    assert load(name, settings={"colour": "rgb"}).sizes["in_channels"] == 3


def test_sizes_that_differ_need_the_setting(tmp_path: Path) -> None:
    flat(tmp_path)
    picture(tmp_path / "dog" / "wide.png", 60, size=(9, 5))
    with pytest.raises(
        DataError, match=r"wide\.png: images must have one size, got 9x5 after 6x5; set size"
    ):
        load(f"folder:{tmp_path}")
    assert load(f"folder:{tmp_path}", settings={"size": 4}).sizes["image_size"] == (4, 4)


def test_a_truncated_and_a_corrupt_image(tmp_path: Path) -> None:
    flat(tmp_path)
    victim = tmp_path / "cat" / "2.png"
    whole = victim.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"no image at all" * 5):
        victim.write_bytes(content)
        with pytest.raises(DataError, match=r"cat/2\.png: must be a whole, readable image"):
            load(f"folder:{tmp_path}")


def test_sixteen_bit_images_are_refused(tmp_path: Path) -> None:
    flat(tmp_path)
    Image.fromarray(np.full((5, 6), 40000, np.uint16)).save(tmp_path / "cat" / "deep.png")
    with pytest.raises(
        DataError, match=r"deep\.png: must have 8 bits a channel, got an image of mode I"
    ):
        load(f"folder:{tmp_path}")


def test_folders_that_are_not_as_they_should_be(tmp_path: Path) -> None:
    name = f"folder:{tmp_path / 'root'}"
    root = tmp_path / "root"
    with pytest.raises(DataError, match="must be a folder of images, there is nothing"):
        load(name)
    root.mkdir()
    with pytest.raises(DataError, match="at least 2 folders, one a class, got 0"):
        load(name)
    flat(root)
    (root / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"nothing else, got the file notes\.txt"):
        load(name)
    (root / "notes.txt").unlink()
    (root / "eel").mkdir()
    with pytest.raises(
        DataError, match="eel: must hold at least one image of its class, it is empty"
    ):
        load(name)
    picture(root / "eel" / "only.png", 9)
    with pytest.raises(DataError, match="class 2 has 1 in all"):
        load(name)
    (root / "eel" / "deeper").mkdir()
    with pytest.raises(DataError, match="eel: must hold image files only, got the folder deeper"):
        load(name)
    (root / "train").mkdir()
    with pytest.raises(DataError, match="got train without test"):
        load(name)


def test_train_and_test_must_hold_the_same_classes(tmp_path: Path) -> None:
    flat(tmp_path / "train")
    flat(tmp_path / "test")
    picture(tmp_path / "test" / "eel" / "0.png", 9)
    with pytest.raises(DataError, match="same classes, 'eel' is in test, not in train"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size: must be at least 1, got 0"),
        ({"colour": "sepia"}, "colour: must be one of"),
        ({"test_fraction": 1.0}, "test_fraction: must be below 1, got 1.0"),
        ({"test_fraction": 0.0}, "test_fraction: must be above 0"),
        ({"split_seed": -1}, "split_seed: must be at least 0"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(FolderSettings, settings, where="data")


def gradient(height: int, width: int) -> Any:
    """A colour picture in which no two corners are alike."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 9, columns * 9, rows + columns], axis=2).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_their_exif_entry_says(tmp_path: Path, orientation: int) -> None:
    """The standard's eight ways to hold a camera: what is stored, undone by numpy's own turns."""
    upright = gradient(7, 11)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),  # turn right by 90 degrees to see it upright: it lies to the left
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    flat(tmp_path, mode="RGB", size=(11, 7))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "cat" / "0.png", exif=exif)
    found = read_folder(FolderSettings(), tmp_path)
    images = np.concatenate([found.x_train, found.x_test])
    assert images.shape == (8, 3, 7, 11)
    assert any(np.array_equal(image, upright.transpose(2, 0, 1)) for image in images)


def test_grey_and_coloured_files_together_are_what_all_in_colour_would_be(tmp_path: Path) -> None:
    """Whatever is read first; the oracle converts and resizes every file by itself."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (4, 9, 8, 3), np.uint8)
    kinds = ["L", "LA", "1", "RGB"]
    for number, kind in enumerate(kinds):
        for name in ("cat", "dog"):
            Image.fromarray(noise[number]).convert(kind).save(tmp_path / name / f"{number}.png")
    found = read_folder(FolderSettings(size=4), tmp_path)
    images = {image.tobytes() for image in (*found.x_train, *found.x_test)}
    wanted = set[bytes]()
    for path in sorted(tmp_path.glob("*/*.png")):
        with Image.open(path) as file:
            small = file.convert("RGB").resize((4, 4), Image.Resampling.BILINEAR)
        wanted.add(np.asarray(small).transpose(2, 0, 1).tobytes())
    assert images == wanted
    assert len(images) == len(kinds)


@pytest.mark.parametrize(
    "place", ["PIL.ImageOps.exif_transpose", "PIL.Image.Image.convert", "PIL.Image.Image.resize"]
)
def test_whatever_a_conversion_raises_its_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    flat(tmp_path)
    monkeypatch.setattr(place, fails)
    told = r"cat/0\.png: must be a whole, readable image: MemoryError"
    with pytest.raises(DataError, match=told):
        read_folder(FolderSettings(size=3), tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="it asks the kernel for the process's peak")
def test_photographs_are_reduced_as_they_are_read(tmp_path: Path) -> None:
    """Twenty-four pictures of 3 megapixels: the process grows by a few of them, not by all."""
    height, width, count = 1500, 2000, 24
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    first = tmp_path / "cat" / "0.bmp"
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(first)
    for number in range(1, count):
        os.link(first, tmp_path / ("cat", "dog")[number % 2] / f"{number}.bmp")
    script = """
import re, sys
from pathlib import Path
from PIL import Image, ImageOps
from regrow.lab.data.folder import FolderSettings, read_folder

def most():  # what getrusage says would have the parent's peak in it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

Image.open(sys.argv[2]).load()  # what the library itself needs is there before
before = most()
found = read_folder(FolderSettings(size=16), Path(sys.argv[1]))
print(len(found.x_train) + len(found.x_test), (most() - before) * 1024)
"""
    small = tmp_path.parent / "small.bmp"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(small)
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path, small], capture_output=True, text=True, check=True
    )
    images, grown = map(int, done.stdout.split())
    assert images == count
    assert height * width * 3 < grown < 5 * height * width * 3
