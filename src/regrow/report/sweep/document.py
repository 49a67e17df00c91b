"""The numbers of a sweep as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from regrow.report.findings import Comparison
from regrow.report.sweep.panel import Chosen, Panel, SweepCell
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
        "arm": panel.arm,
        "versus": panel.versus,
        "headline": headline(panel),
        "findings": [*findings(panel), *choice(panel)],
        "x": {"key": panel.x.key, "setting": panel.x.setting, "values": list(panel.x.values)},
        "y": {"key": panel.y.key, "setting": panel.y.setting, "values": list(panel.y.values)},
        "seeds": panel.seeds,
        "missing": panel.missing,
        "mean_gain": panel.mean_gain,
        "x_trend": panel.x_trend,
        "y_trend": panel.y_trend,
        "best": None if panel.best is None else panel.best.cell,
        "chosen": [_chosen(chosen) for chosen in panel.chosen],
        "cells": [_cell(cell) for cell in panel.cells],
    }


def _cell(cell: SweepCell) -> dict[str, object]:
    return {
        "cell": cell.cell,
        "x": cell.x,
        "y": cell.y,
        "renewed": cell.renewed,
        "missing": cell.missing,
        **_comparison(cell.comparison),
    }


def _chosen(chosen: Chosen) -> dict[str, object]:
    return {
        "half": chosen.half,
        "cell": chosen.cell.cell,
        "x": chosen.cell.x,
        "y": chosen.cell.y,
        "choosing": list(chosen.choosing),
        "held_back": list(chosen.held_back),
        "before": _comparison(chosen.before),
        "after": _comparison(chosen.after),
    }


def _comparison(comparison: Comparison) -> dict[str, object]:
    return {"numbers": asdict(comparison.numbers), "outcome": comparison.outcome}
