"""One look, told apart without colour, and nothing of the user's changed by it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from fresh import fresh
from regrow.report.figures.order import drawings
from regrow.report.figures.style import arm_styles, house_style, saved, sheet
from regrow.report.read import read_results
from report.drawn import drawn

if TYPE_CHECKING:
    from conftest import RunFolder  # pyright: ignore[reportMissingImports]


def _lightness(colour: str) -> float:
    """CIE L*, 0 to 100: what is left of a colour in grey."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def test_arms_are_told_apart_in_grey(new_run: Callable[..., RunFolder]) -> None:
    names = ["none", *"abcdefg"]
    run = new_run(
        arms={name: {"recipe": "none" if name == "none" else "randomout"} for name in names}
    )
    styles = arm_styles(read_results(run.close()))
    assert list(styles) == names
    for one, other in itertools.combinations(styles.values(), 2):
        assert one.marker != other.marker
    first = list(styles.values())[:4]
    for one, other in itertools.combinations(first, 2):
        assert one.line != other.line
        # Different lightness as well, by more than a just visible step.
        assert abs(_lightness(one.colour) - _lightness(other.colour)) > 5
    for style in styles.values():
        assert _lightness(style.colour) < 75  # stands out from white


def test_marker_and_colour_never_repeat_together(new_run: Callable[..., RunFolder]) -> None:
    names = ["none", *(f"a{k}" for k in range(20))]
    run = new_run(
        arms={name: {"recipe": "none" if name == "none" else "randomout"} for name in names}
    )
    styles = arm_styles(read_results(run.close())).values()
    assert len({(style.colour, style.marker) for style in styles}) == 21


Figures = list[tuple[str, Figure]]


@pytest.fixture(scope="module")
def laid_out(made: dict[str, Path]) -> dict[str, Figures]:
    """All figures of two studies by their names, drawn and laid out once."""

    def of(folder: Path) -> Figures:
        found = [(drawing.name, drawn(drawing)) for drawing in drawings(read_results(folder))]
        for _, figure in found:  # a collapsed layout warns, and warnings are errors here
            figure.draw_without_rendering()
        return found

    return {name: of(made[name]) for name in ("partial", "rescued")}


def test_every_figure_names_its_axes_in_letters_of_eight_points(
    laid_out: dict[str, Figures],
) -> None:
    for name, figure in laid_out["partial"]:
        ax = figure.axes[0]
        assert ax.get_xlabel(), name
        assert ax.get_ylabel(), name
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            if text.get_text():
                assert text.get_fontsize() >= 8, (name, text.get_text())


def test_accuracy_axes_have_their_unit(laid_out: dict[str, Figures]) -> None:
    labels = {name: figure.axes[0].get_ylabel() for name, figure in laid_out["rescued"]}
    for name in ("base-sorted", "base-distribution", "base-curves"):
        assert labels[name] == "Test accuracy (%)"


def test_the_layout_has_room_for_everything(laid_out: dict[str, Figures]) -> None:
    """What is drawn lies inside, too."""
    for name, figure in (each for found in laid_out.values() for each in found):
        boxes, whole = [ax.get_window_extent() for ax in figure.axes], figure.bbox
        assert sum(box.height for box in boxes) > 0.35 * whole.height, name
        assert max(b.x1 for b in boxes) - min(b.x0 for b in boxes) > 0.5 * whole.width, name
        tight = figure.get_tightbbox()
        assert tight is not None
        assert tight.x1 <= figure.get_figwidth() + 0.02, name
        assert tight.x0 >= -0.02, name


def test_the_users_settings_and_backend_stay(rescued: Path) -> None:
    before = dict(mpl.rcParams)
    for drawing in drawings(read_results(rescued)):
        drawn(drawing)
    assert dict(mpl.rcParams) == before


def test_a_part_of_a_figure_of_ones_own_is_drawn_into(
    rescued: Path, partial: Path, several_folder: Path, cycled: Path
) -> None:
    folders = (rescued, partial, several_folder, cycled)
    # One of each kind: the same one of another cell is drawn by the same lines.
    every = list({d.title: d for f in folders for d in drawings(read_results(f))}.values())
    with house_style():
        for drawing in every:
            own = sheet((7.2 * 2, 3.6))
            left, right = own.subfigures(1, 2)
            drawing.draw(left)
            assert left.axes, drawing.name
            assert not right.axes, drawing.name
        own.draw_without_rendering()


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_files_hold_their_caption_and_are_the_same_every_time(kind: str) -> None:
    def draw() -> bytes:
        with house_style():
            figure = sheet((2, 2))
            figure.add_subplot().plot([1, 2])
            return saved(figure, kind=kind, title="A title", caption="A caption, n = 3.")

    found = draw()
    assert b"A caption, n = 3." in found
    assert found == draw()


def test_reading_and_summing_up_need_neither_torch_nor_matplotlib(tmp_path: Path) -> None:
    heavy = {"torch", "matplotlib"}
    code = (
        "import sys, regrow.report.html, regrow.report.write, regrow.study.statistics\n"
        f"print({heavy} & set(sys.modules))"
    )
    assert fresh(code, folder=tmp_path, forget={"regrow", *heavy}) == (0, "set()\n")


@pytest.mark.slow
def test_drawing_opens_no_window_and_loads_no_pyplot(rescued: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom regrow.report.write import write_report\n"
        f"write_report(Path({str(rescued)!r}))\nsys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
