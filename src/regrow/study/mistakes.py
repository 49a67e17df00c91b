"""What is wrong with plain data, a line a mistake: ``file: key: what must hold, got what``.

Asked by `study/document.py` for a whole study, and by the laboratory for the settings of data sets and networks.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from types import NoneType
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from regrow.errors import ConfigError, RegrowError, UnknownNameError

_Kind = TypeVar("_Kind", bound=BaseModel)


class Part(BaseModel):
    """A table of a study: nothing in it is unknown, converted, changed later or no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def checked(
    kind: type[_Kind], values: Mapping[str, Any], *, where: str, prefix: tuple[str, ...] = ()
) -> _Kind:
    """Make one of a kind from plain data; all mistakes in one ConfigError."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        lines = mistakes(error, kind, where=where, prefix=prefix)
        raise ConfigError("\n".join(lines)) from None


@contextmanager
def at(where: str) -> Generator[None]:
    """Say of a mistake where it is: the study's key or the arm that it is in."""
    try:
        yield
    except RegrowError as error:
        raise ConfigError(f"{where}: {error}") from error


def mistakes(
    error: ValidationError,
    root: type[BaseModel],
    *,
    where: str = "",
    prefix: tuple[str, ...] = (),
) -> list[str]:
    """What is wrong with plain data: ``file: key: what must hold, got what``; an empty `where` is left out."""
    details = error.errors(include_url=False)
    return list(dict.fromkeys(_line(detail, where, root, prefix=prefix) for detail in details))


_TOLD: Final = {
    "greater_than": "must be above {gt}, got {came!r}",
    "greater_than_equal": "must be at least {ge}, got {came!r}",
    "less_than": "must be below {lt}, got {came!r}",
    "less_than_equal": "must be at most {le}, got {came!r}",
    "int_type": "must be a whole number, got {came!r}",
    "int_from_float": "must be a whole number, got {came!r}",
    "float_type": "must be a number, got {came!r}",
    "string_type": "must be a text, got {came!r}",
    "bool_type": "must be true or false, got {came!r}",
    "finite_number": "must be a finite number, got {came!r}",
    "list_type": "must be a list, got {came!r}",
    "tuple_type": "must be a number or a list of numbers, got {came!r}",
    "dict_type": "must be a table, got {came!r}",
    "model_type": "must be a table, got {came!r}",
    "mapping_type": "must be a table, got {came!r}",
    "literal_error": "must be one of {expected}, got {came!r}",
    "missing": "is missing",
    "union_tag_invalid": "kind must be one of {expected_tags}, got {tag!r}",
    "union_tag_not_found": "kind is missing",
    "model_attributes_type": "must be a table, got {came!r}",
    "string_pattern_mismatch": "must hold more than spaces, got {came!r}",
    "too_short": "must hold at least one entry",
    "value_error": "{error}",
}
"""What is said of each kind of mistake that pydantic finds."""


def _line(
    detail: ErrorDetails, where: str, root: type[BaseModel], *, prefix: tuple[str, ...] = ()
) -> str:
    """One mistake as ``file: key: what must hold, got what``."""
    inside = [str(part) for part in detail["loc"]]
    # Of a stream pydantic names the kind as if it were a key.
    location = [
        *prefix,
        *(part for n, part in enumerate(inside) if (n, inside[0]) != (1, "stream")),
    ]
    if detail["type"] == "extra_forbidden":
        place = ": ".join(part for part in (where, ".".join(location[:-1])) if part)
        return str(UnknownNameError("key", location[-1], _known(root, inside[:-1]), where=place))
    # A large whole number is written in all its digits.
    context = {
        key: f"{value:g}" if isinstance(value, float) else value
        for key, value in detail.get("ctx", {}).items()
    }
    told = _TOLD.get(detail["type"], "{msg}")
    told = told.format(came=detail["input"], msg=detail["msg"], **context)
    return ": ".join(part for part in (where, ".".join(location), told) if part)


def _known(root: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys that may stand at a place of plain data."""
    found: Any = root
    for part in path:
        if get_origin(found) is dict:
            found = get_args(found)[1]
        elif isinstance(found, type):
            found = found.model_fields[part].annotation
        else:  # one of several kinds of tables, which say in `kind` what they are called
            found = next(
                each
                for each in get_args(found)
                if part in get_args(each.model_fields["kind"].annotation)
            )
        found = _alone(found)
    return [*found.model_fields, *getattr(found, "stand_ins", ())]


def _alone(annotation: Any) -> Any:
    """Without None, and without what pydantic is told of it."""
    if get_origin(annotation) is Annotated:
        return _alone(get_args(annotation)[0])
    others = [each for each in get_args(annotation) if each is not NoneType]
    return (
        _alone(others[0]) if NoneType in get_args(annotation) and len(others) == 1 else annotation
    )
