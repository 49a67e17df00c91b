"""A study as this laboratory runs it: with its data sets, models and recipes."""

from __future__ import annotations

from typing import Final

from regrow.lab import arm_recipes, data
from regrow.lab.models import registry as models
from regrow.study.document import Study
from regrow.study.known import Known
from regrow.study.trials import Plan

KNOWN: Final = Known(data=data, models=models, recipes=arm_recipes)


def plan(study: Study, *, where: str = "study") -> Plan:
    """Plan a study; `where` is its file, for messages."""
    return Plan(study=study, known=KNOWN, where=where)
