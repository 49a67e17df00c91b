"""A recipe of one's own, `package.module:function`: from the command line and from study files, in every process."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from crossed import seldom
from regrow import recipes
from regrow.cli.main import app
from regrow.compose import Recipe
from regrow.errors import ConfigError
from regrow.lab.config import Overrides, load_study
from regrow.lab.plan import plan
from regrow.renewal import Redraw
from regrow.renewal.network import Pull
from regrow.schedule import AtBoundary
from regrow.study.fingerprint import fingerprint
from regrow.study.trials import Plan
from report.drawn import blank

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "own-recipes.md").read_text()
SHOWN, AS_CLASS, WHOLE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

SOURCE = """
import regrow
from regrow import Recipe

print("hello from the recipes")

NUMBER = 3


def mild(*, confirm: str = "gradient", threshold: float = 0.7) -> Recipe:
    return regrow.RandomOut(confirm=confirm, threshold=threshold)


def averaged(*, partners: int = 2) -> regrow.PartnerRecipe:
    return regrow.FilterGrafting(partners=partners, amplitude=0.0)


def replayed(*, like, readers: str = "keep"):
    return regrow.RandomControl(like=like, readers=readers)


def nothing(): return None
def fails(): raise RuntimeError("no\\nluck")
def leaves(): raise SystemExit(3)
def needy(*, share): return mild()
def listed(*, layers=("conv1",)): return mild()
def several(**settings): return mild()
def odd(*, share: "Nobody" = 0.5): return mild()
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recipes in the working directory, where no installed command looks by itself."""
    (tmp_path / "my_recipes.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def here(*arguments: object, folder: Path) -> tuple[int, str, str]:
    """The command line in this process, from that folder: exit code, standard output and standard error."""
    assert Path.cwd() == folder
    found = CliRunner().invoke(app, [*map(str, arguments)])
    return found.exit_code, found.stdout, found.stderr


def regrow(*arguments: object, folder: Path) -> tuple[int, str, str]:
    """The same in a process of its own, as a user starts it."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "regrow.cli", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def rows(folder: Path, table: str, columns: str, arm: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "results.sqlite") as database:
        query = f"SELECT {columns} FROM {table} WHERE trial LIKE ? ORDER BY trial, rowid"  # noqa: S608 # our own names
        return database.execute(query, (f"base/{arm}/%",)).fetchall()


@pytest.mark.parametrize("alone", seldom([False, True], often=[False]))
def test_it_trains_as_the_registered_recipe_that_it_stands_for(
    study_file: Path, mine: Path, alone: bool
) -> None:
    """Called here, and as a program of its own with two workers.

    A user's function that returns RandomOut is RandomOut, bit for bit, and is replayed.
    """
    (mine / "redo.py").write_text(SHOWN)
    text = study_file.read_text().replace('recipe = "random"', 'recipe = "random"\nlike = "mild"')
    arms = {
        "mild": 'recipe = "my_recipes:mild"',
        "averaged": 'recipe = "my_recipes:averaged"',
        "small": 'recipe = "redo:smallest"\nsettings = { fraction = 0.34, every_steps = 30 }',
    }
    study = mine / "study.toml"
    study.write_text(text + "".join(f"\n[arms.{label}]\n{arm}\n" for label, arm in arms.items()))
    quick = ["--seeds", 1, "--epochs", 2, "--jobs", 1 + alone, "--json"]
    with blank():
        code, said, more = (regrow if alone else here)(
            "run", study, "--out", "run", *quick, folder=mine
        )
    assert code == 0, more
    assert json.loads(said)["trials"] == {"expected": 6, "ended": 6, "missing": 0}
    if alone:
        assert more.count("hello from the recipes") == 3  # there and in both workers
    for table, columns in (
        ("trials", "test_accuracy, nonfinite"),
        ("epochs", "epoch, train_loss, test_accuracy"),
        ("renewals", "step, layer, filter, score"),
    ):
        theirs = rows(mine / "run", table, columns, "mild")
        assert theirs == rows(mine / "run", table, columns, "randomout")
    places = rows(mine / "run", "renewals", "step, layer", "mild")
    assert places
    assert rows(mine / "run", "renewals", "step, layer", "random") == places
    assert rows(mine / "run", "grafts", "trial", "averaged")
    # The page's: 150 steps, the first 90 of them with renewals; of 6 filters a third each time.
    steps = rows(mine / "run", "renewals", "step", "small")
    assert steps == [(step,) for step in (29, 59, 89) for _ in range(2)]
    assert "mild" in (mine / "run" / "report.html").read_text()


# What the README does not give: a network and a loop, to attach its recipe to.
LOOP = """
import regrow, torch
from mine import smallest

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Conv2d(1, 20, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(720, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
regrower = regrow.attach(smallest(0.1), model, optimizer, example_inputs=torch.zeros(1, 1, 8, 8))
for _ in range(120):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(torch.rand(4, 1, 8, 8)), torch.randint(2, (4,))).backward()
    optimizer.step()
print([(event.step, len(event.filters)) for event in regrower.report.events])
"""


@pytest.mark.slow
def test_the_recipe_of_the_readme_runs_alone_and_in_a_study_with_its_control(
    tmp_path: Path,
) -> None:
    """As it stands there, in an empty folder: every 50 steps the smallest tenth, or fifth, of the filters."""
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    [recipe] = [block for block in code if "regrow.Recipe(" in block]
    assert len([line for line in recipe.splitlines() if line]) <= 13  # two of them are imports
    (tmp_path / "mine.py").write_text(recipe)
    alone = subprocess.run(
        [sys.executable, "-c", LOOP], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert alone.stdout.strip() == "[(49, 2), (99, 2)]", alone.stderr
    arms = [word for name in ("none", "mine:smallest", "random") for word in ("--recipe", name)]
    asked = ["--data", "digits", *arms, "--set", "smallest.fraction=0.2", "--seeds", 1]
    exit_code, out, err = regrow(
        "run", *asked, "--epochs", 8, "--out", "run", "--json", folder=tmp_path
    )
    assert exit_code == 0, err
    assert json.loads(out)["trials"] == {"expected": 3, "ended": 3, "missing": 0}
    places = rows(tmp_path / "run", "renewals", "step, layer", "smallest")
    assert places
    assert {step for step, _ in places} == {49, 99}  # of 112
    assert rows(tmp_path / "run", "renewals", "step, layer", "random") == places
    picked = "step, layer, filter"
    assert rows(tmp_path / "run", "renewals", picked, "random") != rows(
        tmp_path / "run", "renewals", picked, "smallest"
    )
    assert rows(tmp_path / "run", "renewals", "step", "none") == []


def test_the_page_says_how_it_is_called(
    study_file: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mine / "redo.py").write_text(SHOWN)
    [command] = re.findall(r"^    regrow (run .*)$", PAGE, re.MULTILINE)
    asked: list[Plan] = []

    def stop(study: Plan, *_: object, **__: object) -> NoReturn:
        asked.append(study)
        sys.exit()

    with monkeypatch.context() as patched:
        patched.setattr("regrow.cli.run.joined", stop)
        CliRunner().invoke(app, command.split())
    assert asked[0].study.arms["smallest"].settings == {"fraction": 0.1}
    [arm] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    study = mine / "study.toml"
    text = study_file.read_text().replace('"random"', '"random"\nlike = "small"')
    study.write_text(f"{text}\n{arm}")
    [found] = [spec for spec in plan(load_study(study)).trials if spec.label == "small"][:1]
    assert found.settings == {"fraction": 0.1, "every_steps": 100, "active_fraction": 0.6}


def test_a_class_of_settings_is_taken_as_a_function_is(mine: Path) -> None:
    (mine / "redone.py").write_text(SHOWN + AS_CLASS)
    assert recipes.settings("redone:Smallest") == {"fraction": 0.2}
    made = recipes.build("redone:Smallest", {"fraction": 0.3})
    same = recipes.build("redone:smallest", {"fraction": 0.3, "active_fraction": 1.0})
    assert isinstance(made, Recipe)
    assert made.parts == same.parts
    asked = Overrides(data="digits", recipes=("none", "redone:Smallest", "random"))
    arms = load_study(None, asked).arms
    assert arms["Smallest"].recipe == "redone:Smallest"


def test_changes_of_the_whole_network_are_parts(mine: Path) -> None:
    (mine / "whole.py").write_text(
        WHOLE + "\n\ndef one(*, which: str = 'held'):\n    return globals()[which]\n"
    )
    held, each_task = (
        recipes.build("whole:one", {"which": name}) for name in ("held", "each_task")
    )
    assert isinstance(held, Recipe)
    assert held.network == Pull(strength=0.01)
    assert isinstance(each_task, Recipe)
    assert each_task.when == AtBoundary()


def test_its_controls_are_made_of_it(mine: Path) -> None:
    (mine / "redone.py").write_text(SHOWN + AS_CLASS)
    names = ("redone:Smallest", "random", "inverted", "never")
    study = load_study(None, Overrides(data="digits", recipes=names))
    arms = plan(study).cells[0].study.arms
    for control in names[1:]:
        assert arms[control].settings == {"of": "redone:Smallest", "fraction": 0.2}
        made = recipes.build(control, arms[control].settings, like=[])
        assert isinstance(made, Recipe)
        assert made.renew == Redraw(readers="zero")


def test_it_is_part_of_the_fingerprint_as_its_name_and_all_its_settings(mine: Path) -> None:
    def found(*settings: str) -> dict[str, object]:
        asked = Overrides(data="digits", recipes=("none", "my_recipes:mild"), settings=settings)
        return plan(load_study(None, asked)).fingerprint_document(data_digests={"base": "d"})

    plain = found()
    assert plain["cells"]["base"]["arms"]["mild"] == {
        **plain["cells"]["base"]["arms"]["none"],
        "recipe": "my_recipes:mild",
        "settings": {"confirm": "gradient", "threshold": 0.7},
    }
    assert fingerprint(found("mild.threshold=0.7")) == fingerprint(plain)
    assert fingerprint(found("mild.threshold=1")) != fingerprint(plain)


def test_a_function_that_takes_events_is_a_control(mine: Path) -> None:
    asked = Overrides(data="digits", recipes=("randomout", "my_recipes:replayed"))
    arms = load_study(None, asked).arms
    assert recipes.info("my_recipes:replayed").control
    assert arms["replayed"].like is None  # found when the arms are completed
    assert not recipes.info("my_recipes:mild").control
    assert recipes.info("my_recipes:averaged").partners


def test_it_is_not_listed(mine: Path) -> None:
    before = recipes.names()
    recipes.info("my_recipes:mild")
    assert recipes.names() == before


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (
            "no_such_recipes:redo",
            "recipe 'no_such_recipes:redo': cannot import no_such_recipes: ModuleNotFoundError",
        ),
        ("my_recipes:gone", "recipe 'my_recipes:gone': my_recipes has no gone; it has: Recipe, av"),
        ("my_recipes:NUMBER", "NUMBER must be a function, it is a int"),
        (
            "my_recipes:nothing",
            "must return a regrow.Recipe or a regrow.PartnerRecipe, got NoneType",
        ),
        ("my_recipes:fails", "recipe 'my_recipes:fails': raised RuntimeError: no luck"),
        ("my_recipes:leaves", "recipe 'my_recipes:leaves': raised SystemExit: 3"),
        ("my_recipes:needy", "setting share must have a default that a study file can say (a text"),
        (
            "my_recipes:listed",
            "setting layers must have a default that a study file can say (a text",
        ),
        (
            "my_recipes:several",
            "must take its settings as keywords, each by its name, got **settings",
        ),
        (
            "my_recipes:odd",
            "the types of its settings must be readable where it is defined: NameErr",
        ),
        (
            "my recipes:odd",
            "unknown recipe 'my recipes:odd'; known: continual-backprop, fire, grafting, ",
        ),
        ("mild", "unknown recipe 'mild'; known: continual-backprop, fire, grafting, "),
    ],
)
def test_what_cannot_be_used_is_one_line_before_anything_runs(
    recipe: str, told: str, mine: Path
) -> None:
    found = CliRunner().invoke(
        app, ["run", "--data", "digits", "--recipe", "none", "--recipe", recipe, "--out", "run"]
    )
    assert found.exit_code == 2
    assert told in found.stderr.replace("hello from the recipes\n", "")
    assert [line.partition(": ")[0] for line in found.stderr.splitlines()[-1:]] == ["error"]
    assert not (mine / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--set", "mild.treshold=1"],
            "unknown setting of recipe 'my_recipes:mild' 'treshold' (did you mean 'threshold'?)",
        ),
        (["--set", "mild.threshold=high"], "threshold must be like 0.7, got 'high'"),
        (["--set", "mild.threshold=true"], "threshold must be like 0.7, got True"),
        (["--set", "mild.threshold=-1"], "threshold must be at least 0, got -1"),
        (["--set", "mild.confirm=loudly"], "confirm must be 'silence' or 'gradient', got 'loudly'"),
        (
            ["--recipe", "my_recipes:mild"],
            "--recipe my_recipes:mild is there twice as arm mild; a study",
        ),
        (["--partners", "2"], "--partners: needs an arm that trains several networks"),
    ],
)
def test_its_settings_are_checked(arguments: list[str], told: str, mine: Path) -> None:
    del mine
    base = ["run", "--data", "digits", "--recipe", "none", "--recipe", "my_recipes:mild"]
    found = CliRunner().invoke(app, [*base, "--out", "run", *arguments])
    assert found.exit_code == 2
    assert told in found.stderr


def test_the_arm_of_a_study_file_is_kept_by_its_label(study_file: Path, mine: Path) -> None:
    study = mine / "study.toml"
    arm = '[arms.mild]\nrecipe = "my_recipes:mild"\nsettings = { threshold = 0.5 }\n'
    study.write_text(f"{study_file.read_text()}\n{arm}")
    for name in ("mild", "my_recipes:mild"):
        arms = load_study(study, Overrides(recipes=("none", name))).arms
        assert arms["mild"].settings == {"threshold": 0.5}
    study.write_text(f"{study_file.read_text()}\n[arms.mild]\nrecipe = 'randomout'\n")
    with pytest.raises(ConfigError, match="the study's arm mild has another recipe; give this one"):
        load_study(study, Overrides(recipes=("none", "my_recipes:mild")))
