"""Files without an example are not loaded to look for one, nor those that import a package that is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_NEEDS = ("accelerate", "ignite", "lightning", "skorch", "transformers")
collect_ignore = [f"regrow/integrations/{name}.py" for name in _NEEDS if find_spec(name) is None]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Two of three files."""
    return (
        True
        if collection_path.suffix == ".py" and ">>>" not in collection_path.read_text()
        else None
    )
