"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from regrow.errors import ConfigError, DataError, UnknownNameError
from regrow.lab.data.bits import BitsSettings, made_bits
from regrow.lab.data.craters import CraterSettings, read_craters
from regrow.lab.data.dataset import Dataset, RawImages, assemble
from regrow.lab.data.digits import DigitsSettings, read_digits
from regrow.lab.data.folder import FolderSettings, read_folder
from regrow.lab.data.npz import NpzSettings, read_npz
from regrow.lab.settings import Settings, read_settings, settings_of


@dataclass(frozen=True, kw_only=True)
class _Source:
    """One way to get images: its settings, its reader, and a line that says what it is."""

    settings: type[Settings]
    read: Callable[..., RawImages | Dataset]
    summary: str
    # What it is read from: a path behind the name, the data folder, or what comes along with regrow.
    takes: Literal["path", "folder", "nothing"] = "nothing"


_SOURCES: dict[str, _Source] = {
    "digits": _Source(
        settings=DigitsSettings,
        read=read_digits,
        summary="1,797 scanned digits, 8x8 grey, 10 classes; shipped with scikit-learn",
    ),
    "bits": _Source(
        settings=BitsSettings,
        read=made_bits,
        summary="nothing: the inputs of [stream] kind bit-flipping, which makes its own examples",
    ),
    "craters": _Source(
        settings=CraterSettings,
        read=read_craters,
        takes="folder",
        summary="Martian crater candidates, 15x15 or 28x28 grey, 2 classes; from --data-dir or fetched once (17 MB)",
    ),
    "npz": _Source(
        settings=NpzSettings,
        read=read_npz,
        takes="path",
        summary="npz:PATH, your arrays x_train, y_train, x_test, y_test",
    ),
    "folder": _Source(
        settings=FolderSettings,
        read=read_folder,
        takes="path",
        summary="folder:PATH, your image files, one folder a class",
    ),
}


def names() -> list[str]:
    """The data sets that `load` knows; ``npz`` and ``folder`` are followed by a colon and a path."""
    return sorted(_SOURCES)


def _source(base: str) -> _Source:
    if base not in _SOURCES:
        raise UnknownNameError("data set", base, _SOURCES)
    return _SOURCES[base]


def _resolve(name: str) -> tuple[_Source, str]:
    """The source and the path after the colon."""
    base, colon, path = name.partition(":")
    source = _source(base)
    if source.takes == "path" and not path:
        raise ConfigError(f"data set '{base}' needs a path: {base}:PATH")
    if colon and source.takes != "path":
        raise ConfigError(f"data set '{base}' takes no path, got '{name}'")
    return source, path


def defaults(name: str) -> dict[str, object]:
    """The settings of a data set and their defaults; a path after ``npz`` or ``folder`` may be left out."""
    return settings_of(_source(name.partition(":")[0]).settings)


def summary(name: str) -> str:
    """One line on what a data set is."""
    return _source(name).summary


def check(name: str, settings: Mapping[str, object]) -> None:
    """Check a name and its settings without reading anything, and without loading torch."""
    source, _ = _resolve(name)
    read_settings(source.settings, settings, where=f"data set {name}")


def load(
    name: str,
    *,
    settings: Mapping[str, object] | None = None,
    data_dir: Path | None = None,
) -> Dataset:
    """Read a data set, check it and scale it; a relative PATH starts at the data folder.

    Examples:
        >>> data = load("digits", settings={"scale": "unit", "n_train": 100})
        >>> tuple(data.x_train.shape), float(data.x_train.max()), len(data.classes)
        ((100, 1, 8, 8), 1.0, 10)
    """
    source, path = _resolve(name)
    config: Any = read_settings(source.settings, settings or {}, where=f"data set {name}")
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"the data folder must exist, there is no folder {data_dir}")
    if source.takes == "path":
        place = Path(path).expanduser()
        raw = source.read(config, place if data_dir is None else data_dir / place)
    else:
        raw = source.read(config, data_dir) if source.takes == "folder" else source.read(config)
    return raw if isinstance(raw, Dataset) else assemble(name, raw, config)
