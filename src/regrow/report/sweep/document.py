"""The numbers of a sweep as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from regrow.report.findings import Comparison
from regrow.report.sweep.panel import Chosen, Panel
from regrow.report.sweep.told import choice, findings, headline


def sweep_document(panels: Sequence[Panel]) -> dict[str, object]:
    """Put the panels of a sweep into plain values.

    Returns:
        A document with the panels; accuracies are fractions, None where nothing can be.
    """
    return {"panels": [_panel(panel) for panel in panels]}


def _panel(panel: Panel) -> dict[str, object]:
    return {
        "panel": panel.name,
        **_of(panel, "arm", "versus"),
        "headline": headline(panel),
        "findings": [*findings(panel), *choice(panel)],
        "x": asdict(panel.x),
        "y": asdict(panel.y),
        **_of(panel, "seeds", "missing", "mean_gain", "x_trend", "y_trend"),
        "best": None if panel.best is None else panel.best.cell,
        "chosen": [_chosen(chosen) for chosen in panel.chosen],
        "cells": [
            _of(cell, "cell", "x", "y", "renewed", "missing") | _comparison(cell.comparison)
            for cell in panel.cells
        ],
    }


def _chosen(chosen: Chosen) -> dict[str, object]:
    return {
        "half": chosen.half,
        **_of(chosen.cell, "cell", "x", "y"),
        **_of(chosen, "choosing", "held_back"),
        "before": _comparison(chosen.before),
        "after": _comparison(chosen.after),
    }


def _comparison(comparison: Comparison) -> dict[str, object]:
    return {"numbers": asdict(comparison.numbers), "outcome": comparison.outcome}


def _of(record: object, *names: str) -> dict[str, object]:
    return {name: getattr(record, name) for name in names}
