"""What is read of a table is what was written, whatever the values are."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import astuple, fields, replace
from typing import Any, Literal

import pytest

from regrow.study.records import DETAILS, ArmRecord, Trial, TrialResult
from regrow.study.tables import complete, create, insert, select, table, table_of


@table("everything", key="text", of_trial=False)
class Everything:
    text: str
    word: Literal["a", "b"] = "a"
    whole: int = 0
    number: float = 0.0
    truth: bool = False
    several: tuple[float, ...] = ()
    nested: tuple[tuple[str, int], ...] = ()
    maybe_text: str | None = None
    maybe_whole: int | None = None
    maybe_number: float | None = None
    maybe_truth: bool | None = None
    maybe_several: tuple[int, ...] | None = None


def there_and_back(record: Everything) -> Everything:
    database = sqlite3.connect(":memory:")
    database.execute(create(Everything))
    insert(database, [record])
    (found,) = select(database, Everything)[""]
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"text": "", "maybe_text": ""},
        {"text": "nan", "maybe_text": "inf"},
        {"text": '0.5\n"quoted" \u2212 \x00', "word": "b"},
        {"whole": 2**62, "maybe_whole": -(2**62)},
        {"number": math.inf, "maybe_number": -math.inf},
        {"number": 5e-324, "maybe_number": 0.1 + 0.2},
        {"number": -0.0, "maybe_number": 1.7976931348623157e308},
        {"truth": True, "maybe_truth": False},
        {"maybe_truth": True, "maybe_number": 0.0, "maybe_whole": 0},
        {"several": (0.5, -math.inf, 1e-300), "nested": (("", 2**62), ("a", -1))},
        {"several": (1.0,), "maybe_several": ()},
    ],
)
def test_what_is_written_is_read(changes: dict[str, Any]) -> None:
    record = Everything(**{"text": "x", **changes})
    found = there_and_back(record)
    assert found == record
    for each in fields(found):  # 1 == 1.0 == True: kinds count, too
        assert type(getattr(found, each.name)) is type(getattr(record, each.name)), each.name


def test_not_a_number_stays_not_a_number() -> None:
    found = there_and_back(
        Everything(text="x", number=math.nan, maybe_number=math.nan, several=(math.nan, 1.0))
    )
    assert math.isnan(found.number)
    assert found.maybe_number is not None
    assert math.isnan(found.maybe_number)
    assert math.isnan(found.several[0])
    assert found.several[1] == 1.0


def test_a_whole_number_for_a_number_is_read_as_a_number() -> None:
    assert type(there_and_back(Everything(text="x", number=3)).number) is float


def test_records_of_trials_are_read_by_trial_in_their_order() -> None:
    @table("points", key="at")
    class Point:
        at: int

    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE trials (trial TEXT PRIMARY KEY)")
    database.execute(create(Point))
    insert(database, [Point(at=3), Point(at=1)], trial="b")
    insert(database, [Point(at=2)], trial="a")
    assert select(database, Point) == {"b": (Point(at=3), Point(at=1)), "a": (Point(at=2),)}
    assert select(database, Point, trial="b") == {"b": (Point(at=3), Point(at=1))}
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        insert(database, [Point(at=2)], trial="a")


def test_columns_of_later_date_are_what_was_so_before_until_they_are_added() -> None:
    @table("points", key="at", of_trial=False)
    class Point:
        at: int
        height: float | None = None

    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE points (at INTEGER NOT NULL, PRIMARY KEY (at))")
    database.execute("INSERT INTO points VALUES (1)")
    assert select(database, Point) == {"": (Point(at=1),)}
    with pytest.raises(sqlite3.OperationalError, match="no column named height"):
        insert(database, [Point(at=2, height=0.5)])
    complete(database, Point)
    complete(database, Point)
    insert(database, [Point(at=2, height=0.5)])
    assert select(database, Point) == {"": (Point(at=1), Point(at=2, height=0.5))}


@pytest.mark.parametrize("kind", [dict[str, int], int | str, list[int]])
def test_a_field_that_is_no_column_is_refused(kind: Any) -> None:
    record = type("Odd", (), {"__annotations__": {"odd": kind}})
    with pytest.raises(TypeError, match="odd: a column"):
        create(table("odd", key="odd")(record))


def test_every_record_of_a_trial_has_a_table_of_its_own() -> None:
    names = [table_of(record).name for record in DETAILS]
    assert len(set(names)) == len(names) > 9
    held = {each.name for each in fields(TrialResult) if str(each.type).startswith("tuple")}
    assert set(names) == held
    assert table_of(Trial).name == "trials"
    assert table_of(ArmRecord).key == ("cell", "label")


def test_equal_records_are_equal_rows() -> None:
    record = Everything(text="x", several=(1.0, 2.0))
    assert astuple(there_and_back(replace(record))) == astuple(record)
