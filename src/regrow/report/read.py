"""Reading a run's folder for a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from regrow.study.results import Results, read_folder

if TYPE_CHECKING:
    from regrow.compose import RecipeInfo


def read_results(folder: Path) -> Results:
    """Read a run's folder, finished or not, without changing anything in it; `read_folder` says how."""
    return read_folder(folder, facts=_facts)


def _facts(recipe: str) -> RecipeInfo:
    """Folders from before the relations of the arms were stored ask what the recipes say today."""
    from regrow.lab.arm_recipes import info  # loads torch, which other folders do without

    return info(recipe)
