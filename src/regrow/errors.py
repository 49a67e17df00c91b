"""Errors and warnings that regrow raises: every message says what must hold, what came, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RegrowError(Exception):
    """The root of every error that regrow raises on purpose."""


class ConfigError(RegrowError, ValueError):
    """A setting is outside its range, or two settings contradict each other."""


class ShapeError(RegrowError, ValueError):
    """A tensor has the wrong number of axes or the wrong size."""


class UnknownNameError(RegrowError, LookupError):
    """A name is not among the known ones; the message lists them and suggests the nearest.

    Args:
        kind: What the name should have named ("recipe", "data set").
        name: What came.
        known: The names that exist.
        where: The place of the name in the user's input, such as ``study.toml: arms.a.recipe``.

    Examples:
        >>> print(UnknownNameError("recipe", "randomot", ["none", "randomout"]))
        unknown recipe 'randomot' (did you mean 'randomout'?); known: none, randomout
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        names = sorted(known)
        plain = {
            known.partition(":")[0].partition("[")[0]: None for known in names
        }  # without arguments
        near = difflib.get_close_matches(name.partition(":")[0], plain, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        place = f"{where}: " if where else ""
        super().__init__(f"{place}unknown {kind} '{name}'{hint}; known: {', '.join(names)}")


class TraceError(RegrowError, RuntimeError):
    """A model cannot be traced, or holds nothing to act on."""


class StateError(RegrowError, RuntimeError):
    """A saved state does not belong to the object that it is loaded into."""


class OptimizerError(RegrowError, TypeError):
    """An optimizer's state cannot be edited exactly."""


class PartnerError(RegrowError, RuntimeError):
    """A network on another rank has died, or did not come to a graft in time."""


class MissingExtraError(RegrowError, ImportError):
    """An optional dependency is absent.

    Args:
        package: The package that could not be imported.
        extra: The extra of regrow that installs it.
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"'{package}' is needed here: pip install 'regrow[{extra}]'")


class DataError(RegrowError, ValueError):
    """A data set is missing, damaged or not what it should be."""


class StoreError(RegrowError, RuntimeError):
    """A results folder cannot be read or written, or belongs to another study."""


class RegrowWarning(UserWarning):
    """The root of regrow's warnings."""


class NoEffectWarning(RegrowWarning):
    """A recipe cannot act, or has not acted, with the settings that it was given."""


class NonFiniteWarning(RegrowWarning):
    """A gradient or a score is NaN or infinite; no filter is selected by it."""


class LargeRenewalWarning(RegrowWarning):
    """One decision renews more than a third of a layer, or of the network."""


class GuardWarning(RegrowWarning):
    """A guard has shortened a step, or let none be made, for the first time in a training."""


class LeftAloneWarning(RegrowWarning):
    """Filters give nothing to their readers and are not renewed, since that would not help them."""
