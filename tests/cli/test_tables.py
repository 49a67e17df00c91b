from __future__ import annotations

import pytest

from regrow.cli.tables import fitted, terminal_width, wrapped
from regrow.report.table import Table, as_text

TABLE = Table(
    caption="",
    columns=("Arm", "Mean (%)", "Failed"),
    rows=(("none", "75.3", "11"), ("randomout", "87.8", "1"), ("random", "78.0", "9")),
)


def test_a_table_that_fits_is_left_as_it_is() -> None:
    wide = max(map(len, as_text(TABLE).splitlines()))
    assert fitted(TABLE, None) == fitted(TABLE, wide) == as_text(TABLE)
    assert fitted(TABLE, wide - 1) != as_text(TABLE)


def test_a_table_that_is_too_wide_is_turned_on_its_side() -> None:
    table = Table(caption="", columns=("Arm", "n", "Mean (%)"), rows=(("none", "24", "75.3"),))
    assert fitted(table, 16).splitlines() == [
        "Arm       none",
        "--------  ----",
        "n           24",
        "Mean (%)  75.3",
    ]


@pytest.mark.parametrize("width", [20, 24, 27])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(width: int) -> None:
    text = fitted(TABLE, width)
    assert max(map(len, text.splitlines())) <= width
    for row in TABLE.rows:
        for cell in row:
            assert cell in text.split()


def test_a_single_row_is_never_dropped_however_narrow() -> None:
    text = fitted(TABLE, 5)
    assert [label for label in ("none", "randomout", "random") if label in text.split()] == [
        "none",
        "randomout",
        "random",
    ]


def test_paragraphs_break_at_spaces_only() -> None:
    told = "a well-known difference of +1.5 points"
    assert wrapped(told, None) == told
    assert wrapped(told, 22).splitlines() == ["a well-known", "difference of +1.5", "points"]


def test_a_pipe_has_no_width_unless_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_width() is None
    monkeypatch.setenv("COLUMNS", "60")
    assert terminal_width() == 60
    monkeypatch.setenv("COLUMNS", "wide")
    assert terminal_width() is None
