"""What was asked and what came of it is read without torch, and without anything heavy."""

from __future__ import annotations

from pathlib import Path

import regrow.study
from fresh import fresh

HEAVY = ("torch", "matplotlib", "sklearn")


def test_no_file_of_the_package_loads_torch(tmp_path: Path) -> None:
    names = [
        f"regrow.study.{path.stem}"
        for path in Path(regrow.study.__file__).parent.glob("*.py")
        if path.stem != "__init__"
    ]
    assert len(names) > 12
    script = f"import sys, {', '.join(names)}; print([m for m in {HEAVY} if m in sys.modules])"
    assert fresh(script, folder=tmp_path, forget={"regrow", *HEAVY}) == (0, "[]\n")
