"""Arms whose images are at another scale: the same images, labels and order, and results as if the study had it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lab.sharing.running import Tables, go, small_study, tables
from regrow.errors import RegrowError
from regrow.lab import data as lab_data
from regrow.lab.data import Dataset
from regrow.lab.member import Member
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.study.document import Study
from regrow.study.trials import TrialSpec

MakeStudy = Callable[..., Study]

OWN = {"scale": "standard"}
REDO = {"recipe": "redo", "settings": {"every_steps": 4, "threshold": 0.6}}
ARMS: Mapping[str, Mapping[str, Any]] = {
    "none": {"recipe": "none"},
    "redo": REDO,
    "normalised": {"recipe": "none", "data": OWN},
    "normalised-redo": {**REDO, "data": OWN},
    "chance": {"recipe": "random", "like": "normalised-redo"},
}


def a_study(digits: Path, *, scale: str, arms: Mapping[str, Mapping[str, Any]] = ARMS) -> Study:
    return small_study(
        digits,
        arms,
        data={"name": f"npz:{digits}", "settings": {"scale": scale}},
        model={"name": "mlp", "settings": {"width": 12}},
        stream={"kind": "random-labels", "tasks": 2, "epochs": 3, "images": 40},
        train={"batch_size": 16, "optimizer": "adam", "lr": 0.01},
        seeds=[0, 1],
    )


def loaded(spec: TrialSpec) -> Dataset:
    return lab_data.load(spec.data.name, settings=spec.data.settings)


def test_images_labels_and_order_are_those_of_the_other_arms(digits_npz: Path) -> None:
    specs = {spec.label: spec for spec in plan(a_study(digits_npz, scale="unit")).trials[:5]}
    plain, own = specs["none"], specs["normalised"]
    with np.load(digits_npz) as file:
        pixels = file["x_train"].astype(np.float64)
    white, mean, spread = pixels.max(), pixels.mean(), pixels.std()
    for epoch in (1, 6):
        pairs = zip(
            Member(plain, loaded(plain)).batches(epoch),
            Member(own, loaded(own)).batches(epoch),
            strict=True,
        )
        for one, other in pairs:
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[2], other[2])
            wanted = (one[1].double() * white - mean) / spread
            torch.testing.assert_close(other[1].double(), wanted, rtol=1e-5, atol=1e-5)


def rows_of(found: Tables, labels: Mapping[str, str]) -> Tables:
    """What there is of some arms, by other names."""
    named = {f"/{label}/": f"/{name}/" for label, name in labels.items()}
    kept: Tables = {}
    for table in ("epochs", "tasks", "health", "renewals"):
        rows = [row for row in found[table] if any(label in str(row[0]) for label in named)]
        assert rows
        kept[table] = [
            (next(str(row[0]).replace(*pair) for pair in named.items() if pair[0] in str(row[0])), *row[1:])
            for row in rows
        ]  # fmt: skip
    return kept


@pytest.mark.parametrize("engine", ["stack", pytest.param("modules", marks=pytest.mark.slow)])
def test_results_are_those_of_a_study_of_that_scale(
    digits_npz: Path, tmp_path: Path, engine: Any
) -> None:
    go(a_study(digits_npz, scale="unit"), tmp_path / "own", engine=engine)
    plain = {label: {k: v for k, v in arm.items() if k != "data"} for label, arm in ARMS.items()}
    labels = {"normalised": "normalised", "normalised-redo": "normalised-redo", "chance": "chance"}
    arms = {label: plain[label] for label in labels}
    go(a_study(digits_npz, scale="standard", arms=arms), tmp_path / "all", engine=engine)
    own, every = tables(tmp_path / "own"), tables(tmp_path / "all")
    assert rows_of(own, labels) == rows_of(every, labels)
    # And the others are what they are without such arms.
    others = {label: plain[label] for label in ("none", "redo")}
    go(a_study(digits_npz, scale="unit", arms=others), tmp_path / "others", engine=engine)
    same = {label: label for label in others}
    assert rows_of(own, same) == rows_of(tables(tmp_path / "others"), same)


def test_a_preflight_tries_each_scale_and_the_data_are_one(digits_npz: Path) -> None:
    found = preflight(plan(a_study(digits_npz, scale="unit")).trials)
    assert not found.refusal
    assert len(found.data_digests) == 1


def test_results_from_before_there_were_such_arms_are_filed_as_before(study: MakeStudy) -> None:
    def filed(**arm: Any) -> tuple[dict[str, Any], str, dict[str, Any]]:
        asked = plan(study(arms={"a": {"recipe": "none", **arm}}))
        document = asked.fingerprint_document(data_digests={"base": "0"})
        return document["cells"]["base"]["arms"]["a"], asked.arms[0].identity, asked.document

    before, identity, document = filed()
    assert "data" not in before
    assert "data" not in document["arms"]["a"]
    own, other, stored = filed(data=OWN)
    assert own == {**before, "data": OWN}
    assert other != identity
    assert stored["arms"]["a"]["data"] == OWN


def test_a_control_has_the_images_of_the_arm_that_it_is_like(study: MakeStudy) -> None:
    arms = {"redo": {**REDO, "data": {"scale": "unit"}}, "c": {"recipe": "random"}}
    found = {spec.label: spec.data for spec in plan(study(arms=arms)).trials}
    assert found["c"] == found["redo"]
    assert found["c"].settings["scale"] == "unit"


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (
            {"a": {"recipe": "none", "data": {"n_train": 3}}},
            r"s: arms\.a\.data: unknown setting of the data for an arm alone 'n_train'; known: scale$",
        ),
        (
            {"a": {"recipe": "none", "data": {"scale": "units"}}},
            r"s: arms\.a\.data: data set digits: scale: must be one of 'standard', 'unit' or 'per_image', got 'units'",
        ),
        (
            {"big": {"recipe": "none", "data": OWN}, "a": {"recipe": "none", "teachers": ["big"]}},
            r"s: arms\.a\.teachers: 'big' must see images of the arm's own scale",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_with_their_place(
    study: MakeStudy, arms: dict[str, Any], message: str
) -> None:
    asked = study(arms=arms, data={"name": "digits", "settings": {"scale": "unit"}})
    with pytest.raises(RegrowError, match=message) as caught:
        _ = plan(asked, where="s").cells
    assert "\n" not in str(caught.value)


def test_the_grid_may_vary_it(study: MakeStudy) -> None:
    grid = {"none.data.scale": ["unit", "per_image"]}
    found = plan(study(grid=grid)).cells
    assert [cell.study.arms["none"].data["scale"] for cell in found] == ["unit", "per_image"]
