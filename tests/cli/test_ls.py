from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from regrow.cli.main import app


def listed(*arguments: str) -> list[dict[str, object]]:
    found = CliRunner().invoke(app, ["ls", *arguments, "--json"])
    assert found.exit_code == 0, found.stderr
    return json.loads(found.stdout)


def test_recipes_with_source_settings_and_differences() -> None:
    recipes = {str(entry["name"]): entry for entry in listed("recipes")}
    assert set(recipes) >= {"none", "restart", "randomout", "random"}
    assert recipes["randomout"]["year"] == 2016
    assert recipes["randomout"]["settings"]["threshold"] == 1e-8
    assert recipes["randomout"]["differs"]
    assert recipes["random"]["control"]


def test_recipes_are_shown_by_family() -> None:
    families: dict[str, set[str]] = {}
    for entry in listed("recipes"):
        families.setdefault(str(entry["family"]), set()).add(str(entry["name"]))
    assert families["plasticity"] == {
        "redo",
        "continual-backprop",
        "partial-reset",
        "regrama",
        "self-normalized-resets",
    }
    assert families["controls"] >= {"none", "random", "inverted", "never", "restart"}
    text = CliRunner().invoke(app, ["ls", "recipes"]).stdout
    _, *parts = re.split(r"^\[(.+)\]$", text, flags=re.MULTILINE)
    assert parts[::2] == list(families)
    for family, part in zip(parts[::2], parts[1::2], strict=True):
        shown = {line.partition(": ")[0] for line in part.splitlines() if line[:1].isalpha()}
        assert shown == families[family]
    one = CliRunner().invoke(app, ["ls", "recipes", "redo"]).stdout
    assert one.startswith("redo: ")


def test_recipes_for_several_networks_are_marked() -> None:
    several = {entry["name"] for entry in listed("recipes") if entry["several"]}
    assert several == {"grafting", "independent"}
    text = CliRunner().invoke(app, ["ls", "recipes"]).stdout
    assert text.count("trains several networks side by side: --partners says how many") == 2
    own = next(part for part in text.split("\n\n") if part.startswith("grafting: "))
    recipes = {entry["name"]: entry for entry in listed("recipes")}
    for number, words in enumerate(recipes["grafting"]["differs"], 1):
        assert f"  {number}. {words}" in own


def test_models_and_data_with_their_settings() -> None:
    models = {entry["name"]: entry for entry in listed("models")}
    assert models["cratercnn"]["settings"]["filters"] == 20
    assert "package.module:function" in models
    assert {entry["name"] for entry in listed("data")} >= {"digits", "craters", "npz", "folder"}


@pytest.mark.parametrize("kind", ["recipes", "models", "data"])
def test_the_text_names_everything_that_the_json_does(kind: str) -> None:
    text = CliRunner().invoke(app, ["ls", kind]).stdout
    for entry in listed(kind):
        assert f"{entry['name']}: " in text


def test_one_is_shown_by_its_name() -> None:
    for kind, name in (("recipes", "randomout"), ("models", "cratercnn"), ("data", "digits")):
        assert listed(kind, name) == [entry for entry in listed(kind) if entry["name"] == name]
    found = CliRunner().invoke(app, ["ls", "recipes", "randomot"])
    assert found.exit_code == 2
    assert "unknown recipe 'randomot' (did you mean 'randomout'?)" in found.stderr


def test_bad_use() -> None:
    for arguments in (["runs", "/nowhere"], ["recipes", "somewhere"], ["recipe"]):
        assert CliRunner().invoke(app, ["ls", *arguments]).exit_code == 2
