"""The walk of a trial in its worker: through which files of the laboratory it goes, beside its data and its network."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest

import regrow
from regrow.lab import data
from regrow.lab.plan import plan
from regrow.lab.trial import Request
from regrow.lab.worker import Bench, Message, RunDone, WorkerSettings, data_key
from regrow.study.document import check_document

ROOT = Path(regrow.__file__).parent
FILES = {
    "lab/worker.py",
    "lab/trial.py",
    "lab/engines/choice.py",
    "lab/run.py",
    "lab/member.py",
    "lab/assembly.py",
    "lab/engines/modules.py",
    "lab/measure.py",
    "lab/diagnostics.py",
    "lab/ending.py",
    "study/trials.py",
    "study/document.py",
    "study/generator_keys.py",
    "lab/settings.py",
}


@pytest.mark.parametrize("recipe", ["none", "randomout"])
def test_the_walk_of_a_trial_does_not_grow(recipe: str) -> None:
    document = {
        "name": "walk",
        "data": {"name": "digits", "settings": {"n_train": 60, "n_test": 20}},
        "model": {"name": "cratercnn", "settings": {"filters": 3, "dense": 8}},
        "train": {"epochs": 1, "batch_size": 20, "lr": 0.05},
        "arms": {"arm": {"recipe": recipe}},
        "seeds": [0],
    }
    (spec,) = plan(check_document(document, where="test")).trials
    held = data.load(spec.data.name, settings=spec.data.settings)
    said: list[Message] = []
    bench = Bench(WorkerSettings(), said.append, data={data_key(spec.data): held})
    files: set[str] = set()

    def seen(frame: FrameType, event: str, argument: object) -> None:
        del argument
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(ROOT):
            files.add(file.relative_to(ROOT).as_posix())

    bench.train([Request(specs=(spec,))])  # what is imported and looked up once
    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        bench.train([Request(specs=(spec,))])
    finally:
        sys.setprofile(before)
    assert [type(message) for message in said if isinstance(message, RunDone)] == [RunDone] * 2
    own = {name for name in files if name.startswith(("lab/", "study/"))}
    own -= {name for name in own if name.startswith(("lab/data/", "lab/models/"))}
    assert own == FILES
