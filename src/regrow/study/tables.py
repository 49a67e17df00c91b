"""Records, which are frozen dataclasses, as rows of SQLite: CREATE, INSERT and SELECT derived from their fields.

A field is an int, a float, a str, a bool or a tuple (of these, or of tuples), and may be None. What is read is equal
to what was written, and not a number stays not a number. Fields of later date must have a default, which is what is
read where a folder has no such column; `complete` adds it before anything is written.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import (
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from regrow.study.grouped import grouped

Record = TypeVar("Record")

_KINDS: Final = {int: "INTEGER", bool: "INTEGER", float: "REAL", str: "TEXT", tuple: "TEXT"}


@dataclass(frozen=True)
class _Column:
    name: str
    kind: type
    optional: bool


@dataclass(frozen=True)
class Table:
    """Where the records of one class are kept."""

    name: str  # the table's
    columns: tuple[_Column, ...]  # the fields of the class
    key: tuple[str, ...]  # the columns that tell one record from all others
    # Whether each record belongs to a trial: the first column, which is no field of it.
    of_trial: bool
    # Whether it came later than the folders that have the others, and may be missing in one.
    later: bool


_TABLES: dict[type, Table] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True)
def table(
    name: str, *, key: str, of_trial: bool = True, later: bool = False
) -> Callable[[type[Record]], type[Record]]:
    """A frozen dataclass, and where its records are kept; `key` names the columns that tell them apart."""

    def declared(record: type[Record]) -> type[Record]:
        made = dataclass(frozen=True, kw_only=True, slots=True)(record)
        columns = tuple(_column(*hint) for hint in get_type_hints(made).items())
        _TABLES[made] = Table(name, columns, tuple(key.split()), of_trial, later)
        return made

    return declared


def table_of(record: type) -> Table:
    """Where records of a class are kept."""
    return _TABLES[record]


def create(record: type) -> str:
    """The statement that makes the table, unless it is there."""
    found = _TABLES[record]
    columns = ["trial TEXT NOT NULL REFERENCES trials"] if found.of_trial else []
    columns += map(_declared, found.columns)
    key = ", ".join(("trial", *found.key) if found.of_trial else found.key)
    return f"CREATE TABLE IF NOT EXISTS {found.name} ({', '.join(columns)}, PRIMARY KEY ({key}))"


def complete(connection: sqlite3.Connection, record: type) -> None:
    """Make the table, or add to the one that is there the columns that came later."""
    connection.execute(create(record))
    found, there = _TABLES[record], _there(connection, record)
    for column in found.columns:
        if column.name not in there:
            connection.execute(f"ALTER TABLE {found.name} ADD COLUMN {_declared(column)}")


def insert(connection: sqlite3.Connection, records: Iterable[object], *, trial: str = "") -> None:
    """Write records, each to the table of its class; those of a trial with its name."""
    for kind, own in grouped(records, type).items():
        found = _TABLES[kind]
        first = {"trial": trial} if found.of_trial else {}
        names = [*first, *(each.name for each in found.columns)]
        marks = ", ".join("?" * len(names))
        text = f"INSERT INTO {found.name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 # our own names
        rows = (
            (*first.values(), *(_told(getattr(record, each.name)) for each in found.columns))
            for record in own
        )
        connection.executemany(text, rows)


def select(
    connection: sqlite3.Connection, record: type[Record], *, trial: str | None = None
) -> dict[str, tuple[Record, ...]]:
    """Read records in the order in which they were written, by trial; all under "" that belong to none."""
    found, there = _TABLES[record], _there(connection, record)
    if found.later and not there:
        return {}
    columns = [column for column in found.columns if column.name in there]
    first = "trial" if found.of_trial else "''"
    names = ", ".join((first, *(column.name for column in columns)))
    where, values = (" WHERE trial = ?", (trial,)) if trial is not None else ("", ())
    rows = connection.execute(
        f"SELECT {names} FROM {found.name}{where} ORDER BY rowid",  # noqa: S608 # our own names
        values,
    )
    read = [_READING.get(column.kind) for column in columns]
    several: dict[str, list[Record]] = {}
    for owner, *row in rows:
        told = {
            column.name: value if way is None or value is None else way(value)
            for column, way, value in zip(columns, read, row, strict=True)
        }
        several.setdefault(owner, []).append(record(**told))
    return {owner: tuple(own) for owner, own in several.items()}


def _there(connection: sqlite3.Connection, record: type) -> set[str]:
    """The columns that the table has."""
    return {row[1] for row in connection.execute(f"PRAGMA table_info({_TABLES[record].name})")}


def _declared(column: _Column) -> str:
    return f"{column.name} {_KINDS[column.kind]}{'' if column.optional else ' NOT NULL'}"


def _column(name: str, hint: Any) -> _Column:
    parts = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    kinds = [part for part in parts if part is not NoneType]
    if len(kinds) != 1:
        raise TypeError(f"{name}: a column has one kind, got {hint}")
    origin = get_origin(kinds[0]) or kinds[0]
    kind = str if origin is Literal else origin
    if kind not in _KINDS:
        raise TypeError(f"{name}: a column must be one of {list(_KINDS)}, got {hint}")
    return _Column(name, kind, len(kinds) < len(parts))


def _told(value: object) -> object:
    """SQLite has no NaN: as a number it would come back as None."""
    if isinstance(value, float) and value != value:  # noqa: PLR0124 # NaN alone differs from itself
        return "nan"
    return json.dumps(value) if isinstance(value, tuple) else value


def _tupled(found: Any) -> Any:
    return tuple(map(_tupled, found)) if isinstance(found, list) else found


# A whole number in a column of numbers is read as REAL; what is text there is not a number.
_READING: Final[Mapping[type, Callable[[Any], object]]] = {
    float: float,
    bool: bool,
    tuple: lambda text: _tupled(json.loads(text)),
}
