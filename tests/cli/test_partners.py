"""Trials of several networks from the command line to the report."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regrow.cli.main import app
from regrow.errors import ConfigError
from regrow.lab.config import Overrides, load_study

DIGITS = ("run", "--data", "digits", "--set", "model.filters=3", "--set", "model.dense=8")


@pytest.mark.slow
def test_partners_are_set_and_reported(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = [*DIGITS, "--seeds", "1", "--epochs", "2", "--jobs", "1", "--partners", "3"]
    for recipe in ("none", "grafting", "independent"):
        arguments += ["--recipe", recipe]
    arguments += ["--set", "diagnostics.weights=true", "--out", str(out)]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.stderr
    study = json.loads((out / "study.json").read_text())
    assert {label: arm["settings"].get("partners") for label, arm in study["arms"].items()} == {
        "none": None,
        "grafting": 3,
        "independent": 3,
    }
    with sqlite3.connect(out / "results.sqlite") as database:
        rows = database.execute(
            "SELECT arm, COUNT(DISTINCT partner), COUNT(*) FROM partners JOIN trials USING (trial) "
            "GROUP BY arm ORDER BY arm"
        ).fetchall()
        mean = database.execute(
            "SELECT t.test_accuracy, AVG(p.test_accuracy) FROM partners p JOIN trials t USING (trial) "
            "WHERE arm = 'grafting' AND epoch = 2"
        ).fetchone()
    assert rows == [("grafting", 3, 6), ("independent", 3, 6)]
    assert mean[0] == pytest.approx(mean[1])
    assert "grafting: ensemble of 3" in found.stdout
    assert "mean of 3 networks" in found.stderr
    page = (out / "report.html").read_text()
    for title in ("At equal cost", "Invalid filters", "Shares that the networks kept"):
        assert title in page


def test_partners_of_a_study_file_and_of_its_arms_are_overridden(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'name = "s"\n[data]\nname = "digits"\n[arms.none]\nrecipe = "none"\n'
        '[arms.a]\nrecipe = "grafting"\nsettings = { amplitude = 0.0 }\n'
        '[arms.b]\nrecipe = "independent"\nsettings = { partners = 5 }\n'
    )
    study = load_study(path, Overrides(partners=4, settings=("b.partners=6",)))
    assert study.arms["a"].settings == {"amplitude": 0.0, "partners": 4}
    assert study.arms["b"].settings == {"partners": 6}  # --set says more
    assert study.arms["none"].settings == {}


def test_partners_need_an_arm_that_trains_several() -> None:
    found = CliRunner().invoke(
        app, [*DIGITS, "--recipe", "none", "--recipe", "repr", "--partners", "2"]
    )
    assert found.exit_code == 2
    assert found.stderr == (
        "error: command line: --partners: needs an arm that trains several networks (recipe grafting or "
        "independent), and the arms are none, repr\n"
    )


@pytest.mark.parametrize("recipe", ["grafting", "independent"])
def test_one_partner_is_none(recipe: str) -> None:
    with pytest.raises(ConfigError, match="at least 2, got 1"):
        load_study(None, Overrides(data="digits", recipes=(recipe,), partners=1))


def test_a_control_that_replays_has_nothing_to_replay_of_networks_that_graft() -> None:
    asked = ["--recipe", "none", "--recipe", "grafting", "--recipe", "random"]
    found = CliRunner().invoke(app, [*DIGITS, *asked])
    assert found.exit_code == 2
    assert "the study has none that renews filters" in found.stderr
    assert "'independent' and with amplitude=0" in found.stderr


def test_an_unknown_recipe_is_told_before_its_partners() -> None:
    asked = ["--recipe", "graftin", "--recipe", "independent", "--partners", "3"]
    found = CliRunner().invoke(app, [*DIGITS, *asked])
    assert found.exit_code == 2
    assert "unknown recipe 'graftin' (did you mean 'grafting'?)" in found.stderr
