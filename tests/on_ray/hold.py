"""A network that waits where it is made: whoever kills its process then has killed a task that has not ended."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Unpack

from regrow.lab.models.cratercnn import CraterCNN
from regrow.lab.models.settings import CraterCNNSettings, Sizes


def make(*, hold: str, filters: int, **sizes: Unpack[Sizes]) -> CraterCNN:
    """A network, once the hold is open."""
    here = Path(hold) / str(os.getpid())
    while (Path(hold) / "closed").exists():
        here.touch()
        time.sleep(0.05)
    here.unlink(missing_ok=True)
    return CraterCNN(
        settings=CraterCNNSettings(filters=filters, dense=8, init="kaiming_normal"), **sizes
    )


class Hold:
    """A gate before every network of a study: closed, nobody who makes one gets further.

    Args:
        folder: A folder of its own, where the processes that wait say so.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def model(self) -> dict[str, object]:
        """The network, as a study file names it."""
        return {"name": "on_ray.hold:make", "settings": {"hold": str(self._folder), "filters": 3}}

    def close(self) -> None:
        (self._folder / "closed").touch()

    def open(self) -> None:
        (self._folder / "closed").unlink()

    def waiting(self) -> set[int]:
        """The processes that wait."""
        return {int(each.name) for each in self._folder.iterdir() if each.name.isdigit()}
