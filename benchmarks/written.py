"""What a benchmark leaves in its folder of results."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


def write_results(out: Path, document: Mapping[str, Any], lines: Sequence[str]) -> None:
    """Write the numbers with the versions that they were measured with, and the table for people.

    Args:
        out: The folder; made where it is missing. Holds ``summary.json`` and ``table.md`` afterwards.
        document: The numbers.
        lines: Of the table.
    """
    about = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "summary.json").write_text(json.dumps({**document, **about}, indent=1) + "\n")
    (out / "table.md").write_text("\n".join(lines) + "\n")
