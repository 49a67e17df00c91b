"""Settings that a user wrote, read into a frozen model, with one clear line for each mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from regrow.errors import ConfigError, UnknownNameError
from regrow.study.mistakes import mistakes


class Settings(BaseModel):
    """The settings of a model or of a data set: plain values, all with defaults.

    Nothing is converted but a whole number where a number is expected: ``"8"`` or ``true`` in place of 8 is a mistake.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Kind = TypeVar("Kind", bound=Settings)


def read_settings(kind: type[Kind], settings: Mapping[str, object], *, where: str) -> Kind:
    """Check what a user wrote."""
    for key in settings:
        if key not in kind.model_fields:
            raise UnknownNameError("setting", key, kind.model_fields, where=where)
    try:
        return kind.model_validate(dict(settings))
    except ValidationError as error:
        raise ConfigError(f"{where}: {'; '.join(mistakes(error, kind))}") from None


def settings_of(kind: type[Settings]) -> dict[str, object]:
    """The settings and their defaults, in the order of declaration."""
    return {name: field.default for name, field in kind.model_fields.items()}
