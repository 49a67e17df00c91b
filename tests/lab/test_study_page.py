"""docs/studies.md says what a study file can say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from regrow.lab.assembly import CALIBRATION
from regrow.lab.config import load_study
from regrow.study.document import Diagnostics, Training

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "studies.md").read_text()


def test_its_example_is_a_study(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    file = tmp_path / "study.toml"
    file.write_text(example[1])
    study = load_study(file)
    assert set(study.arms) == {"none", "repr", "random", "redraw"}
    repr_, chance = (study.arms[label].settings for label in ("repr", "random"))
    assert chance == {**repr_, "rank_by": "random"}  # the control that the page speaks of


def test_it_says_on_how_many_images_rankings_are_measured() -> None:
    assert f"on the first {CALIBRATION} training images" in PAGE


@pytest.mark.parametrize(("part", "kind"), [("train", Training), ("diagnostics", Diagnostics)])
def test_every_key_is_there_with_its_default(
    part: str, kind: type[Training] | type[Diagnostics]
) -> None:
    table = re.search(rf"\| `\[{part}\]` \| default.*?\n\n", PAGE + "\n", re.DOTALL)
    assert table is not None
    told: dict[str, str] = {}
    for keys, default in re.findall(r"^\| (`\w+`[^|]*) \| ([^|]+) \|", table[0], re.MULTILINE):
        names, values = (
            re.findall(r"`(\w+)`", keys),
            [each.strip(" `") for each in default.split(",")],
        )
        told.update(zip(names, values, strict=True))
    words = {None: "none", True: "true", False: "false"}
    assert told == {
        name: f'"{field.default}"'
        if isinstance(field.default, str)
        else str(words.get(field.default, field.default))
        if field.default is None or isinstance(field.default, bool)
        else str(field.default)
        for name, field in kind.model_fields.items()
    }
