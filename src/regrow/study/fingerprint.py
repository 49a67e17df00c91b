"""What determines the results of a study: the document that is hashed, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from regrow.study.document import Study
from regrow.study.keys import MISSING, flat
from regrow.study.known import Known
from regrow.study.later import TRAINING_LATER, distinguishing, without

RESULTS_VERSION: Final = 1
"""Raised when a change of the laboratory changes the results of the same settings."""


def of_cell(study: Study, known: Known, *, data_digest: str) -> dict[str, Any]:
    """What determines the results of a cell's trials: not the seeds' number, the name, the jobs or the folder.

    Settings of later date that change nothing are left out, so that folders from before them go on.
    """
    found = study.model_dump(mode="json", include={"data", "model", "train", "arms"})
    model = found["model"]
    model["settings"] = known.models.distinguishing(model["name"], model["settings"])
    found["train"] = without(found["train"], TRAINING_LATER)
    for arm in found["arms"].values():
        arm["settings"] = distinguishing(arm["recipe"], arm["settings"])
    if study.stream is not None:
        found["stream"] = study.stream.model_dump(mode="json")
    return {**found, "data_digest": data_digest}


def fingerprint(found: object) -> str:
    """Hash a fingerprint document, or a part of one."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Name the settings in which two documents differ.

    Examples:
        >>> differences({"train": {"lr": 0.1}}, {"train": {"lr": 0.2}})
        ['train.lr: 0.1 there, 0.2 here']
    """
    flat_there, flat_here = flat(there), flat(here)
    found: list[str] = []
    for key in {**flat_there, **flat_here}:
        before, now = flat_there.get(key, MISSING), flat_here.get(key, MISSING)
        if before != now:
            told = ("nothing" if each is MISSING else repr(each) for each in (before, now))
            found.append("{}: {} there, {} here".format(key, *told))
    return found
