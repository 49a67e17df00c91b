"""Files of a study where every node of a cluster reads them: a shared folder, s3://, gs://, whatever fsspec opens.

`Stored` has what a results folder needs of `pathlib.Path`; `regrow.study.store` and the files of the laboratory take
either.
"""

from __future__ import annotations

import errno
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, final

from regrow._named import in_one_line
from regrow._whole import write_whole
from regrow.errors import ConfigError, RegrowWarning

PAUSES: tuple[float, ...] = (0.2, 0.5, 1, 2, 4, 8, 15, 30, 30)
"""Seconds between two tries of what the storage fails to do: a minute and a half in all."""

_TOLD_FROM: Final = 2
"""Failures in a row before a user is told."""

Found = TypeVar("Found")


@final
@dataclass(frozen=True)
class Stored:
    """A file or a folder, patient with a storage that fails for a while."""

    url: str  # Where: an absolute path, or PROTOCOL://PLACE
    patient: bool = True  # try again what fails

    def __str__(self) -> str:
        """Where it is, for messages."""
        return self.url

    def __truediv__(self, name: str) -> Stored:
        """What has this name in the folder."""
        return replace(self, url=f"{self.url.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The end of the name, from the last dot on."""
        return Path(self.name).suffix

    @property
    def parent(self) -> Stored:
        """The folder that it is in."""
        return replace(self, url=self.url.rpartition("/")[0])

    def with_suffix(self, suffix: str) -> Stored:
        """The same name with another end."""
        return self.parent / Path(self.name).with_suffix(suffix).name

    @property
    def _local(self) -> Path | None:
        """The path, where it is one of this machine's file system."""
        return None if "://" in self.url else Path(self.url)

    @property
    def _system(self) -> tuple[Any, str]:
        """The file system, and what it calls this."""
        from fsspec.core import url_to_fs  # noqa: PLC0415 # nobody else needs it

        try:
            # What a node has listed, another has changed since.
            system, path = url_to_fs(self.url, use_listings_cache=False)
        except TypeError:
            system, path = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{self.url}: {in_one_line(error)}") from error
        return system, path

    @property
    def _puts(self) -> bool:
        """Whether it is storage where a file is there when all of it is, and where folders are names."""
        named = self._system[0].protocol
        return bool({named} & _PUTS if isinstance(named, str) else set(named) & _PUTS)

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Make the folder, where there are folders."""
        if (path := self._local) is not None:
            self._tried(lambda: path.mkdir(parents=parents, exist_ok=exist_ok))
        elif not self._puts:
            system, name = self._system
            self._tried(lambda: system.makedirs(name, exist_ok=exist_ok))

    def is_file(self) -> bool:
        """Whether it is there."""
        system, name = self._system
        return self._tried(lambda: bool(system.isfile(name)))

    def read_bytes(self) -> bytes:
        """What the file holds."""
        system, name = self._system
        return self._tried(lambda: system.cat_file(name))

    def write(self, *parts: bytes | memoryview, forced: bool = False) -> None:
        """Write the file in one piece: whoever looks finds the old one or the new one."""
        if (path := self._local) is not None:
            self._tried(lambda: write_whole(path, *parts, forced=forced))
            return
        system, name = self._system
        content = b"".join(parts)
        if self._puts:
            self._tried(lambda: system.pipe_file(name, content))
            return
        aside = f"{name.rpartition('/')[0]}/.{self.name[:100]}.{os.getpid()}.tmp"

        def write() -> None:
            system.pipe_file(aside, content)
            system.mv(aside, name)

        self._tried(write)

    def replace(self, target: Stored) -> None:
        """Give the file another name."""
        system, name = self._system
        self._tried(lambda: system.mv(name, target._system[1]))

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Remove the file."""
        system, name = self._system
        try:
            self._tried(lambda: system.rm_file(name))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def iterdir(self) -> Iterator[Stored]:
        """What is in the folder; nothing where there is no folder."""
        system, name = self._system
        try:
            found = self._tried(lambda: system.ls(name, detail=False))
        except FileNotFoundError:
            return
        for path in found:
            yield self / str(path).rstrip("/").rpartition("/")[2]

    def glob(self, pattern: str) -> Iterator[Stored]:
        """What is in the folder and is called so."""
        return (path for path in self.iterdir() if fnmatch(path.name, pattern))

    def _tried(self, act: Callable[[], Found]) -> Found:
        """What came of it, tried again while the storage fails: an OSError when it has failed for too long."""
        pauses = PAUSES if self.patient else ()
        for tries, pause in enumerate((*pauses, None), 1):
            try:
                return act()
            except Exception as error:  # each kind of storage has errors of its own
                # A shared folder that is not there is storage that fails; a file that is not there is an answer.
                there = self._local is None or self._local.parent.is_dir()
                if isinstance(error, FileNotFoundError) and there:
                    raise
                if pause is None:
                    raise OSError(errno.EIO, in_one_line(error)) from error
                if tries == _TOLD_FROM:
                    told = f"{self.parent}: the storage fails ({in_one_line(error)}); it is tried again"
                    warnings.warn(told, RegrowWarning, stacklevel=3)
                time.sleep(pause)
        raise AssertionError


_PUTS: Final = {"s3", "s3a", "gs", "gcs", "abfs", "az", "memory"}
"""Object stores, whose moves are copies."""


def place_of(text: str) -> Stored:
    """Where a user wants files to be: a URL, or a folder, relative to the working directory."""
    return Stored(text if "://" in text else Path(text).expanduser().resolve().as_posix())


Place: TypeAlias = Path | Stored
"""Where a file or a folder of a study is."""


def write(place: Place, *parts: bytes | memoryview, forced: bool = False) -> None:
    """Write a file in one piece, as `regrow._whole.write_whole` does."""
    if isinstance(place, Stored):
        place.write(*parts, forced=forced)
    else:
        write_whole(place, *parts, forced=forced)
