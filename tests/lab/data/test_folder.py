"""The user's own image files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regrow.errors import ConfigError, DataError
from regrow.lab.data import load
from regrow.lab.data.folder import FolderSettings
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
    assert load(name).in_channels == 3
    assert load(name, settings={"colour": "grey"}).in_channels == 1
    (tmp_path / "dog" / "colour.png").unlink()
    assert load(name).in_channels == 1
    assert load(name, settings={"colour": "rgb"}).in_channels == 3


def test_sizes_that_differ_need_the_setting(tmp_path: Path) -> None:
    flat(tmp_path)
    picture(tmp_path / "dog" / "wide.png", 60, size=(9, 5))
    with pytest.raises(
        DataError, match=r"wide\.png: images must have one size, got 9x5 after 6x5; set size"
    ):
        load(f"folder:{tmp_path}")
    assert load(f"folder:{tmp_path}", settings={"size": 4}).image_size == (4, 4)


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
