"""CSVLog: numbers of a training as lines of a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import final


@final
class CSVLog:
    """Appends a line for each number to a file: step, name, value.

    Long and not wide, so that a name that comes later needs no new column.

    Args:
        path: The file. Its folder is made; one that exists is gone on with.

    Edge cases:
        A training that is resumed from an earlier step writes the steps in between once more: the later line of a step
        and name is the one that counts. Each call opens and closes the file, so that a training that is killed has
        lost nothing, and a copied or pickled log goes on in the same file.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     CSVLog(f"{folder}/log.csv").write(10, {"regrow/renewed": 3})
        ...     print(Path(f"{folder}/log.csv").read_text().splitlines())
        ['step,name,value', '10,regrow/renewed,3']
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append the numbers."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, lineterminator="\n")
            if file.tell() == 0:
                lines.writerow(("step", "name", "value"))
            lines.writerows((step, name, value) for name, value in values.items())
