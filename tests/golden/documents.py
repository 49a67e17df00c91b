"""What golden files hold: the fingerprint documents of studies, and what is reported of stored databases."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from regrow.lab.config import load_plan
from regrow.lab.plan import KNOWN
from regrow.report.diagnostic_tables import diagnostic_tables
from regrow.report.figures.order import drawings
from regrow.report.partner_tables import partner_tables
from regrow.report.read import read_results
from regrow.report.summary import summarise
from regrow.report.sweep.tables import best_table, cells_table, panels_table
from regrow.report.table import (
    activity_table,
    arms_table,
    as_markdown,
    overview_table,
    paired_table,
)
from regrow.report.write import summary_json
from regrow.study.fingerprint import fingerprint
from regrow.study.later import LATER, TRAINING_LATER, as_before, without

HERE = Path(__file__).parent
STUDIES = HERE.parent.parent / "studies"
STORED = ("plain", "grid", "partners", "teachers", "drops")


def fingerprints(file: Path) -> dict[str, Any]:
    """What a study's results are filed under, with stand-ins for the data's hashes; one cell is written out."""
    asked = load_plan(file)
    names = [cell.name for cell in asked.cells]
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    found = asked.fingerprint_document(data_digests=digests)
    return {
        "cells": len(names),
        "fingerprint": fingerprint(found),
        "document": hashlib.sha256(json.dumps(_as_before(asked.document)).encode()).hexdigest(),
        "in_a_stack": fingerprint(asked.fingerprint_document(data_digests=digests, engine="stack")),
        "first_cell": next(iter(found["cells"].values())),
    }


def _as_before(document: dict[str, Any]) -> dict[str, Any]:
    """A stored document without settings of later date that say what was so before."""
    model = document["model"]
    settings = KNOWN.models.distinguishing(model["name"], model["settings"])
    # RandomOut's later settings were there when these files were written, those of others were not.
    later = {recipe: settings for recipe, settings in LATER.items() if recipe != "randomout"}
    arms = {
        label: {
            **arm,
            "settings": as_before(without(arm["settings"], later.get(arm["recipe"], {}))),
        }
        for label, arm in document["arms"].items()
    }
    return {
        **{key: value for key, value in document.items() if key != "note"},
        "arms": arms,
        "model": {**model, "settings": settings},
        "train": without(document["train"], TRAINING_LATER),
    }


def summary(folder: Path) -> dict[str, Any]:
    """The numbers of a report."""
    return json.loads(json.dumps(summary_json(folder), allow_nan=False))


def told(folder: Path) -> str:
    """Every table of a report and the captions of its figures, as text."""
    results = read_results(folder)
    found = summarise(results)
    tables = [table for panel in found.panels for table in (cells_table(panel), best_table(panel))]
    tables += [panels_table(found.panels), overview_table(found)]
    for cell in found.cells:
        tables += [arms_table(cell), activity_table(cell), paired_table(cell)]
        tables += [table for _, _, table in partner_tables(cell)]
        tables += [table for _, _, table in diagnostic_tables(results, cell.cell)]
    parts = [part for table in tables for part in (as_markdown(table), table.caption)]
    parts += [f"{each.name}: {each.caption}" for each in drawings(results, found.panels)]
    return "\n\n".join(parts) + "\n"
