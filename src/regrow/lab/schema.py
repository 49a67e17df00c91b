"""The tables of a results file, and how a trial's records become their rows."""

from __future__ import annotations

from dataclasses import astuple
from typing import Final

from regrow.lab.outcome import TrialResult

SCHEMA_VERSION: Final = "3"

SCHEMA: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE trials (
        trial TEXT PRIMARY KEY, cell TEXT NOT NULL, arm TEXT NOT NULL, seed INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('finished', 'diverged', 'crashed')),
        test_accuracy REAL, test_loss REAL, train_accuracy REAL, train_loss REAL, majority_share REAL,
        epochs INTEGER, steps INTEGER, renewed INTEGER, renewal_steps INTEGER, nonfinite INTEGER,
        restarts INTEGER, error TEXT, seconds REAL, recipe_seconds REAL, finished_at TEXT,
        UNIQUE (cell, arm, seed))""",
    """CREATE TABLE epochs (
        trial TEXT NOT NULL REFERENCES trials, epoch INTEGER NOT NULL, train_loss REAL,
        train_accuracy REAL, test_loss REAL, test_accuracy REAL, seconds REAL, PRIMARY KEY (trial, epoch))""",
    """CREATE TABLE renewals (
        trial TEXT NOT NULL REFERENCES trials, step INTEGER NOT NULL, epoch INTEGER NOT NULL,
        layer TEXT NOT NULL, filter INTEGER NOT NULL, score REAL, dropped INTEGER, change REAL,
        PRIMARY KEY (trial, step, layer, filter))""",
    """CREATE TABLE resting (
        trial TEXT NOT NULL REFERENCES trials, layer TEXT NOT NULL, filter INTEGER NOT NULL,
        dropped INTEGER NOT NULL, PRIMARY KEY (trial, layer, filter))""",
    """CREATE TABLE layers (
        trial TEXT NOT NULL REFERENCES trials, layer TEXT NOT NULL, filters INTEGER NOT NULL,
        PRIMARY KEY (trial, layer))""",
    """CREATE TABLE overlaps (
        trial TEXT NOT NULL REFERENCES trials, epoch INTEGER NOT NULL, layer TEXT NOT NULL, mean REAL,
        largest REAL, out INTEGER NOT NULL, PRIMARY KEY (trial, epoch, layer))""",
    """CREATE TABLE correlations (
        trial TEXT NOT NULL REFERENCES trials, epoch INTEGER NOT NULL, ranking TEXT NOT NULL, value REAL,
        rank REAL, filters INTEGER NOT NULL, PRIMARY KEY (trial, epoch, ranking))""",
    """CREATE TABLE partners (
        trial TEXT NOT NULL REFERENCES trials, epoch INTEGER NOT NULL, partner INTEGER NOT NULL, lr REAL,
        train_loss REAL, train_accuracy REAL, test_loss REAL, test_accuracy REAL,
        PRIMARY KEY (trial, epoch, partner))""",
    """CREATE TABLE together (
        trial TEXT NOT NULL REFERENCES trials, how TEXT NOT NULL, test_accuracy REAL, partner INTEGER,
        PRIMARY KEY (trial, how))""",
    """CREATE TABLE grafts (
        trial TEXT NOT NULL REFERENCES trials, step INTEGER NOT NULL, epoch INTEGER NOT NULL,
        partner INTEGER NOT NULL, layer TEXT NOT NULL, share REAL, information REAL, partner_information REAL,
        distance REAL, PRIMARY KEY (trial, step, partner, layer))""",
    """CREATE TABLE weights (
        trial TEXT NOT NULL REFERENCES trials, epoch INTEGER NOT NULL, partner INTEGER NOT NULL,
        layer TEXT NOT NULL, entropy REAL, below_1 REAL, below_0_1 REAL, below_0_01 REAL, below_0_001 REAL,
        PRIMARY KEY (trial, epoch, partner, layer))""",
)
"""One statement a table; rows of one trial are in the order in which things happened, its layers in the network's.

``seconds``, ``recipe_seconds`` and ``finished_at`` are the only columns that two runs of the same study may
differ in."""


def trial_row(result: TrialResult, *, finished_at: str) -> dict[str, object]:
    """The row of table ``trials``.

    Args:
        result: The trial.
        finished_at: Time, for people.

    Returns:
        Value by column; metrics are those of the last epoch.
    """
    last = result.last
    return {
        "trial": result.trial,
        "cell": result.cell,
        "arm": result.arm,
        "seed": result.seed,
        "status": result.status,
        "test_accuracy": None if last is None else last.test_accuracy,
        "test_loss": None if last is None else last.test_loss,
        "train_accuracy": None if last is None else last.train_accuracy,
        "train_loss": None if last is None else last.train_loss,
        "majority_share": result.majority_share,
        "epochs": len(result.epochs),
        "steps": result.steps,
        "renewed": len(result.renewals),
        "renewal_steps": result.renewal_steps,
        "nonfinite": result.nonfinite,
        "restarts": result.restarts,
        "error": result.error,
        "seconds": result.seconds,
        "recipe_seconds": result.recipe_seconds,
        "finished_at": finished_at,
    }


def detail_rows(result: TrialResult) -> dict[str, list[tuple[object, ...]]]:
    """The rows of all other tables.

    Args:
        result: The trial.

    Returns:
        Rows by table, in its columns' order; tables without rows are there too.
    """
    trial = result.trial
    return {
        "epochs": [(trial, *astuple(record)) for record in result.epochs],
        "renewals": [(trial, *astuple(record)) for record in result.renewals],
        "resting": [(trial, *astuple(record)) for record in result.resting],
        "layers": [(trial, *entry) for entry in result.layers],
        "overlaps": [(trial, *astuple(record)) for record in result.overlaps],
        "correlations": [(trial, *astuple(record)) for record in result.correlations],
        "partners": [(trial, *astuple(record)) for record in result.partners],
        "together": [(trial, *astuple(record)) for record in result.together],
        "grafts": [(trial, *astuple(record)) for record in result.grafts],
        "weights": [(trial, *astuple(record)) for record in result.weights],
    }
