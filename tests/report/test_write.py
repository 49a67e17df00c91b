"""Writing the report: every file whole or not at all, the same bytes every time."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regrow.errors import StoreError
from regrow.report.drawing import PHONE
from regrow.report.write import Written, summary_json, write_report
from report.drawn import blank
from report.stored import relabelled

if TYPE_CHECKING:
    from conftest import RunFolder  # pyright: ignore[reportMissingImports]


@dataclass(frozen=True)
class Once:
    """A folder whose report was written once, and the names of what was in it before."""

    folder: Path
    before: set[str]
    written: Written


@pytest.fixture(scope="module")
def once(made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Once:
    """The report of a whole study."""
    folder = shutil.copytree(made["rescued"], tmp_path_factory.mktemp("once") / "run")
    before = {path.name for path in folder.rglob("*") if path.is_file()}
    return Once(folder, before, write_report(folder))


def test_page_numbers_and_figures_are_written(once: Once) -> None:
    written, folder = once.written, once.folder
    assert written.html == folder / "report.html"
    assert [path.name for path in written.figures] == [
        f"base-{name}.{kind}"
        for name in (
            "sorted",
            "distribution",
            "curves",
            "renewals-randomout",
            "renewals-by-seed-randomout",
        )
        for kind in ("svg", "png")
    ]
    for path in written.figures:
        start = path.read_bytes()[:8]
        assert start == (b"\x89PNG\r\n\x1a\n" if path.suffix == ".png" else b"<?xml ve")
    assert json.loads(written.summary.read_text()) == summary_json(folder)
    # the figures on the page are those beside it
    inlined = re.findall(r"src=\"data:image/svg\+xml;base64,([^\"]+)", written.html.read_text())
    assert [base64.b64decode(one) for one in inlined] == [
        path.read_bytes() for path in written.figures if path.suffix == ".svg"
    ]


def test_wide_figures_are_there_a_second_time_for_narrow_screens(once: Once) -> None:
    written = once.written
    narrow = re.findall(r"srcset=\"data:image/svg\+xml;base64,([^\"]+)", written.html.read_text())
    widths = [re.search(rb'width="([\d.]+)pt"', base64.b64decode(one)) for one in narrow]
    assert all(
        found is not None and float(found[1]) == pytest.approx(72 * PHONE) for found in widths
    )
    assert len(narrow) == sum(drawing.wide for drawing in written.drawings) > 0


def test_writing_again_gives_the_same_bytes_and_leaves_no_scraps(once: Once) -> None:
    paths = [once.written.html, once.written.summary, *once.written.figures]
    before = [path.read_bytes() for path in paths]
    write_report(once.folder)
    assert [path.read_bytes() for path in paths] == before
    left = {path.name for path in once.folder.rglob("*") if path.is_file()}
    assert left == {path.name for path in paths} | once.before


def test_an_empty_study_has_a_page_and_no_figures(new_run: Callable[..., RunFolder]) -> None:
    folder = new_run().close()
    written = write_report(folder)
    assert written.figures == ()
    assert "72 of 72 trials are missing" in written.html.read_text()


def test_the_summary_tells_the_verdicts(rescued: Path) -> None:
    found = summary_json(rescued)
    assert found["standing"] == "Complete: all 72 trials of the study ended."
    verdicts = json.loads(json.dumps(found, allow_nan=False))["verdicts"]
    assert [(v["cell"], v["arm"], v["outcome"]) for v in verdicts] == [
        ("base", "randomout", "gain")
    ]
    assert not (rescued / "summary.json").exists()


def test_a_folder_without_results_stays_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"results\.sqlite"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_one_clear_error_and_the_old_page_stays(rescued: Path) -> None:
    (rescued / "report.html").write_text("old")
    (rescued / "figures").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match="the report cannot be written"):
        write_report(rescued)
    assert (rescued / "report.html").read_text() == "old"


def test_labels_make_no_paths(new_run: Callable[..., RunFolder]) -> None:
    renewing = {"recipe": "randomout"}
    run = new_run(arms={"none": {"recipe": "none"}, "a": renewing, "b": renewing}, seeds=range(1))
    for arm in ("none", "a", "b"):
        run.add(arm, 0, 0.9, renewals=[] if arm == "none" else [(1, "conv1", 1)])
    arms = {"a": "../../a b", "b": "..//..//a b"}
    with blank():
        written = write_report(relabelled(run.close(), arms=arms, cells={"base": "x=a/b"}))
    assert {path.parent for path in written.figures} == {run.folder / "figures"}
    names = [path.name for path in written.figures]
    assert len({name.lower() for name in names}) == len(names) == 2 * 7
