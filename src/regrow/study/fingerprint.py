"""What determines the results of a study: the document that is hashed, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from regrow.study.cells import Cell
from regrow.study.document import EngineName, Study
from regrow.study.keys import flat
from regrow.study.known import Known
from regrow.study.later import TRAINING_LATER, distinguishing, without

RESULTS_VERSION: Final = 1
"""Raised when a change of the laboratory changes the results of the same settings."""


def fingerprint_document(
    cells: Iterable[Cell],
    known: Known,
    *,
    data_digests: Mapping[str, str],
    engine: EngineName = "modules",
    device: str = "cpu",
) -> dict[str, Any]:
    """All that determines the results of a trial: not the seeds' number, the name, the jobs or the folder.

    Args:
        engine: What makes the steps. Folders from before there were two have none: ``modules``.
    """
    return {
        "results_version": RESULTS_VERSION,
        **({} if engine == "modules" else {"engine": engine}),
        **({} if device == "cpu" else {"device": device.partition(":")[0]}),
        "cells": {
            cell.name: {
                **cell.study.model_dump(mode="json", include={"data", "model", "train", "arms"}),
                "model": _model(cell.study, known),
                "train": without(cell.study.train.model_dump(mode="json"), TRAINING_LATER),
                "arms": _arms(cell.study),
                "data_digest": data_digests[cell.name],
            }
            for cell in cells
        },
    }


def _arms(study: Study) -> dict[str, Any]:
    """The arms without settings of later date that change nothing."""
    arms = study.model_dump(mode="json", include={"arms"})["arms"]
    return {
        label: {**arm, "settings": distinguishing(arm["recipe"], arm["settings"])}
        for label, arm in arms.items()
    }


def _model(study: Study, known: Known) -> dict[str, Any]:
    """The model without settings of later date that change nothing: folders from before them go on."""
    chosen = study.model
    return {
        "name": chosen.name,
        "settings": known.models.distinguishing(chosen.name, chosen.settings),
    }


def fingerprint(found: Mapping[str, Any]) -> str:
    """Hash a fingerprint document."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Name the settings in which two documents differ.

    Examples:
        >>> differences({"train": {"lr": 0.1}}, {"train": {"lr": 0.2}})
        ['train.lr: 0.1 there, 0.2 here']
    """
    flat_there, flat_here = flat(there), flat(here)
    nothing = object()

    def told(flat: Mapping[str, object], key: str) -> str:
        return repr(flat[key]) if key in flat else "nothing"

    return [
        f"{key}: {told(flat_there, key)} there, {told(flat_here, key)} here"
        for key in dict.fromkeys([*flat_there, *flat_here])
        if flat_there.get(key, nothing) != flat_here.get(key, nothing)
    ]
