"""The arms of a study as they are in one cell of its grid."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, cast

from regrow.lab.keys import set_key
from regrow.report.results import Study


def arms_in(study: Study, cell: str) -> dict[str, dict[str, Any]]:
    """Write out what each arm is in one cell: a grid may make arms differ in one and not in another.

    Args:
        study: What was asked for.
        cell: The cell.

    Returns:
        By label, in the study's order: ``recipe``, ``settings``, ``train`` (the study's with the arm's own over it),
        ``model`` (where it differs from the study's), ``teachers`` and ``distillation``.
    """
    base: object = study.document.get("train")
    document: dict[str, Any] = {
        "train": dict(cast("Mapping[str, Any]", base)) if isinstance(base, dict) else {},
        "arms": {
            arm.label: {
                "recipe": arm.recipe,
                "settings": dict(arm.settings),
                "train": dict(arm.train),
                "model": dict(arm.model),
                "teachers": list(arm.teachers),
                "distillation": dict(arm.distillation),
            }
            for arm in study.arms
        },
    }
    for key, value in _point(study, cell):
        set_key(document, key, value, where=cell)
    return {
        label: {**arm, "train": {**document["train"], **arm["train"]}}
        for label, arm in document["arms"].items()
    }


def _point(study: Study, cell: str) -> tuple[tuple[str, object], ...]:
    """The grid's values in one cell; none without a grid."""
    axes = [[(key, value) for value in values] for key, values in study.grid.items()]
    for point in itertools.product(*axes):
        if ",".join(f"{key}={value}" for key, value in point) == cell:
            return point
    return ()
