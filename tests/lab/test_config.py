from __future__ import annotations

from pathlib import Path

import pytest

from regrow.errors import ConfigError, RegrowError
from regrow.lab.config import Overrides, load_study
from regrow.study.keys import parse_value

GOOD = """
name = "good"
seeds = 4
first_seed = 10
[data]
name = "digits"
settings = { scale = "unit" }
[model]
name = "cratercnn"
settings = { filters = 2, dense = 16 }
[train]
epochs = 5
lr = 1
[arms.plain]
recipe = "none"
[arms.ro]
recipe = "randomout"
settings = { threshold = 1e-8 }
train = { lr = 0.2 }
[arms.control]
recipe = "random"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "x.toml"
    path.write_text(text)
    return path


def test_a_study_file_is_read_with_its_types(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, GOOD))
    assert study.seeds == (10, 11, 12, 13)
    assert (study.train.lr, study.train.epochs, study.train.momentum) == (1.0, 5, 0.0)
    assert list(study.arms) == ["plain", "ro", "control"]
    assert study.data.settings == {"scale": "unit"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lr = 1\n", "lr = -1\n", "train.lr: must be above 0, got -1"),
        ("lr = 1\n", 'lr = "1"\n', "train.lr: must be a number, got '1'"),
        ("lr = 1\n", "lr = inf\n", "train.lr: must be a finite number, got inf"),
        ("epochs = 5", "epochs = 0", "train.epochs: must be at least 1, got 0"),
        ("epochs = 5", "epochs = 2.5", "train.epochs: must be a whole number, got 2.5"),
        ("epochs = 5", "epochs = true", "train.epochs: must be a whole number, got True"),
        ("epochs = 5", "epoch = 5", "train: unknown key 'epoch' (did you mean 'epochs'?); known: "),
        ("epochs = 5", "momentum = 1.0", "train.momentum: must be below 1, got 1.0"),
        ("epochs = 5", "nesterov = true", "train: nesterov needs a momentum above 0"),
        (
            "epochs = 5",
            'optimizer = "adam"\nmomentum = 0.9',
            "train: momentum and nesterov belong to optimizer 'sgd', got 'adam'",
        ),
        (
            "epochs = 5",
            'optimizer = "sdg"',
            "train.optimizer: must be one of 'sgd', 'adam' or 'adamw', got 'sdg'",
        ),
        ("seeds = 4\nfirst_seed = 10", "seeds = 0", "seeds: must be at least 1, got 0"),
        (
            "seeds = 4\nfirst_seed = 10",
            "seeds = []",
            "seeds: must hold at least one seed, got none",
        ),
        ("seeds = 4\nfirst_seed = 10", "seeds = [1, 2, 1]", "seeds: must be distinct, got 1 twice"),
        (
            "seeds = 4\nfirst_seed = 10",
            "seeds = [-1]",
            "seeds.0: must be at least 0, got -1",
        ),
        (
            "seeds = 4",
            "seeds = [4]",
            "first_seed: must come with seeds as a number, not as a list",
        ),
        (
            "seeds = 4",
            "seeds = 99999999999",
            "seeds: must be at most 100000, got 99999999999",
        ),
        (
            "first_seed = 10",
            "first_seed = -1",
            "first_seed: must be a whole number from 0 to 2147483647, got -1",
        ),
        ('name = "good"', 'name = ""', "name: must hold more than spaces, got ''"),
        ('name = "digits"', "", "data.name: is missing"),
        ('name = "good"', 'nam = "good"', "unknown key 'nam' (did you mean 'name'?); known: "),
        (
            'recipe = "randomout"',
            'recipe = "randomot"',
            "arms.ro.recipe: unknown recipe 'randomot' (did you mean 'randomout'?); known: ",
        ),
        (
            "threshold = 1e-8",
            "threshold = -1e-8",
            "arms.ro.settings: threshold must be at least 0, got -1e-08",
        ),
        (
            "threshold = 1e-8",
            "active_fraction = 1.5",
            "arms.ro.settings: active_fraction must be within [0, 1], got 1.5",
        ),
        (
            "threshold = 1e-8",
            "thresholds = 1e-8",
            "arms.ro.settings: unknown setting of recipe 'randomout' 'thresholds' (did you mean 'threshold'?)",
        ),
        ("{ lr = 0.2 }", "{ lr = 0 }", "arms.ro.train.lr: must be above 0, got 0"),
        ("{ lr = 0.2 }", "{ rl = 0.2 }", "arms.ro.train: unknown key 'rl'"),
        (
            'recipe = "none"',
            'recipe = "none"\nlike = "ro"',
            "arms.plain.like: is for controls, and recipe 'none' is none",
        ),
        (
            'recipe = "none"',
            'recipe = "none"\nsettings = { a = 1 }',
            "arms.plain.settings: 'none' has no settings, got a",
        ),
        ('recipe = "none"', "settings = {}", "arms.plain.recipe: is missing"),
        (
            'recipe = "none"',
            'recipe = "randomout"',
            "arms.control.like: must say whose control it is, one of plain, ro",
        ),
        (
            'recipe = "random"',
            'recipe = "random"\nlike = "or"',
            "arms.control.like: unknown arm with a recipe 'or'; known: ro",
        ),
        (
            'recipe = "none"',
            'recipe = "restart"\nsettings = { check_epochs = 0 }',
            "arms.plain.settings: check_epochs: must be at least 1, got 0",
        ),
        ("[arms.plain]", '[arms."a/b"]', "arms: a label must be letters, digits, '_', '+' and '-'"),
        (
            'name = "digits"',
            'name = "digit"',
            "data: unknown data set 'digit' (did you mean 'digits'?)",
        ),
        (
            '"cratercnn"',
            '"cratercn"',
            "model: unknown model 'cratercn' (did you mean 'cratercnn'?)",
        ),
        ("filters = 2", "filter = 2", "model: model cratercnn: unknown setting 'filter'"),
        (
            "filters = 2",
            "filters = 0",
            "model: model cratercnn: filters: must be at least 1, got 0",
        ),
        (
            "[arms.plain]",
            '[grid]\n"train.lrr" = [1]\n[arms.plain]',
            "grid (train.lrr=1): train: unknown key 'lrr'",
        ),
        (
            "[arms.plain]",
            '[grid]\n"arms.roo.threshold" = [1]\n[arms.plain]',
            "grid.\"arms.roo.threshold\": unknown part of the study 'roo' (did you mean 'ro'?)",
        ),
        (
            "[arms.plain]",
            '[grid]\n"train.lr" = []\n[arms.plain]',
            'grid."train.lr": must list at least one value',
        ),
        (
            "[arms.plain]",
            '[grid]\n"train.lr" = [0.1, 0.1]\n[arms.plain]',
            "grid: the cell train.lr=0.1 is there twice",
        ),
        ('name = "good"', "name = ", "is no valid TOML: "),
    ],
)
def test_each_mistake_is_one_line_with_its_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(RegrowError) as caught:
        load_study(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: {message}")
    assert "\n" not in text


def test_every_mistake_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path, GOOD.replace("lr = 1\n", "lr = 0\n").replace("epochs = 5", "epochs = 0")
    )
    with pytest.raises(ConfigError) as caught:
        load_study(path)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "train.epochs",
        "train.lr",
    ]


def test_a_missing_file_and_no_study_at_all_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such study file"):
        load_study(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="give a study file, or --data"):
        load_study(None)


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    study = load_study(
        written(tmp_path, GOOD),
        Overrides(
            seeds=2,
            train={"lr": 0.3, "epochs": None},
            settings=("ro.threshold=1e-5", "ro.train.lr=0.7", "model.dense=4"),
            name="mine",
        ),
    )
    assert (study.name, study.seeds) == ("mine", (10, 11))
    assert (study.train.lr, study.train.epochs) == (0.3, 5)
    assert study.arms["ro"].settings["threshold"] == 1e-5
    assert study.arms["ro"].train == {"lr": 0.7}
    assert study.model.settings == {"filters": 2, "dense": 4}


def test_recipes_choose_among_a_files_arms_and_add_to_them(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, GOOD), Overrides(recipes=("ro", "restart")))
    assert {label: arm.recipe for label, arm in study.arms.items()} == {
        "ro": "randomout",
        "restart": "restart",
    }
    assert study.arms["ro"].settings == {"threshold": 1e-8}


def test_a_data_set_alone_is_a_study_with_a_control() -> None:
    study = load_study(None, Overrides(data="digits"))
    assert list(study.arms) == ["none", "randomout", "random"]
    assert (study.name, len(study.seeds)) == ("digits-randomout", 16)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            Overrides(data="digits", settings=("threshold",)),
            "--set must be KEY=VALUE, got 'threshold'",
        ),
        (
            Overrides(data="digits", settings=("lr=1",)),
            "must be like train.lr or randomout.threshold",
        ),
        (Overrides(data="digits", recipes=("none", "none")), "--recipe none is there twice"),
        (
            Overrides(data="digits", recipes=("random",)),
            "replays an arm with a recipe, and the study has none",
        ),
        (Overrides(data="digits", settings=("train.lr=[1]",)), "train.lr: must be a number"),
        (Overrides(data="digits", settings=("model.dense=[1]",)), "dense must be a text, a number"),
    ],
)
def test_mistakes_of_the_command_line(overrides: Overrides, message: str) -> None:
    with pytest.raises(RegrowError) as caught:
        load_study(None, overrides)
    assert str(caught.value).startswith("command line: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("null", None), ("none", "none"), ("a = 1\nb = 2", "a = 1\nb = 2")],
)
def test_values_are_read_as_toml_else_as_text(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_part_of_a_study(tmp_path: Path, ending: str) -> None:
    text = '[data]\nname = "digits"\n[arms.none]\nrecipe = "none"\n'
    plain, marked = tmp_path / "plain.toml", tmp_path / "marked.toml"
    plain.write_bytes(text.encode())
    marked.write_bytes(text.replace("\n", ending).encode("utf-8-sig"))
    assert load_study(marked) == load_study(plain)


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-16", "is UTF-16 text, and a study file must be UTF-8: save it as that"),
        ("utf-16-le", "is UTF-16 text, and a study file must be UTF-8: save it as that"),
        ("utf-16-be", "is UTF-16 text, and a study file must be UTF-8: save it as that"),
        ("latin-1", "must be UTF-8 text: 'utf-8' codec can't decode byte 0xe9 in position 9"),
    ],
)
def test_another_encoding_is_named(tmp_path: Path, encoding: str, told: str) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes('name = "p\u00e9"\n'.encode(encoding))
    with pytest.raises(ConfigError) as error:
        load_study(path)
    assert str(error.value).startswith(f"{path}: {told}")
    assert "\n" not in str(error.value)
