"""The public names: a removal is a decision, and the core stays light."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import regrow
import regrow.functional
from fresh import fresh

PUBLIC = {
    "ContinualBackprop",
    "FIRE",
    "FilterGrafting",
    "Grafter",
    "Health",
    "InternalScion",
    "KeepAlive",
    "L2Init",
    "NoiseScion",
    "PartialReset",
    "PartnerRecipe",
    "RandomControl",
    "RandomOut",
    "ReDo",
    "ReGraMa",
    "RePr",
    "Recipe",
    "Regrower",
    "Report",
    "SelfNormalizedResets",
    "ShrinkPerturb",
    "StepLimit",
    "Teachers",
    "attach",
    "attach_partners",
    "inspect",
    "trace",
}
MOVED = {
    "Detached": "loop",
    "Filters": "graph",
    "Grafted": "history",
    "Norm": "graph",
    "PartnerReport": "history",
    "Reader": "graph",
    "RecipeInfo": "recipes",
    "Renewed": "history",
    "Wiring": "graph",
}
RENAMED = {
    "criteria.Averaging": "AveragingCriterion",
    "criteria.Heard": "ActivationStatistics",
    "criteria.Kept": "KeepReason",
    "criteria.Remembering": "RememberingCriterion",
    "criteria.Silenced": "Ablation",
    "criteria.Watching": "WatchingCriterion",
    "guard.Moved": "StepParameters",
    "nn.Folded": "FoldedModel",
    "renewal.Heard": "LayerInput",
}

LABORATORY = ("scipy", "matplotlib", "pydantic", "typer", "rich", "sklearn", "pooch", "PIL")


def test_public_names() -> None:
    assert set(regrow.__all__) == PUBLIC
    for name in regrow.__all__:
        assert getattr(regrow, name).__doc__
    assert set(dir(regrow)) >= PUBLIC


@pytest.mark.parametrize("module", [regrow, regrow.functional])
def test_type_checkers_read_what_is_imported(module: ModuleType) -> None:
    """The block that only they read says of every public name, and of no other, where it is."""
    tree = ast.parse(Path(module.__file__ or "").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    said = {
        name.name: line.module
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for name in line.names
        if name.asname == name.name  # or a type checker takes it for private
    }
    modules = {name for name, home in said.items() if home == "regrow"}
    assert said.keys() - modules == set(module.__all__)
    for name, home in said.items():
        if name in modules:
            assert getattr(module, name).__name__ == f"regrow.{name}"
        else:
            assert getattr(importlib.import_module(home or ""), name) is getattr(module, name)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_name_that_was_changed_is_told_with_the_new_one(old: str, new: str) -> None:
    home, _, name = old.rpartition(".")
    module = importlib.import_module(f"regrow.{home}")
    with pytest.raises(AttributeError, match=f"^regrow.{old} is now regrow.{home}.{new}$"):
        getattr(module, name)
    assert getattr(module, new).__name__ == new
    with pytest.raises(AttributeError, match=f"^module 'regrow.{home}' has no attribute 'Tree'$"):
        module.Tree  # noqa: B018


@pytest.mark.parametrize(("name", "home"), MOVED.items())
def test_a_name_that_has_moved_is_told_with_its_place(name: str, home: str) -> None:
    words = f"regrow.{name} is now in regrow.{home}: from regrow.{home} import {name}"
    with pytest.raises(AttributeError, match=re.escape(words)):
        getattr(regrow, name)
    assert getattr(importlib.import_module(f"regrow.{home}"), name)


def test_recipes_call_no_formula() -> None:
    """They put parts together: where one needs arithmetic, a part is missing."""
    for file in (Path(regrow.__file__).parent / "recipes").glob("*.py"):
        imported = {
            name.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom)
            for name in node.names
        }
        assert not imported.intersection(regrow.functional.__all__), file.name


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(regrow, "randomout")


def test_the_core_needs_torch_and_jaxtyping_alone(tmp_path: Path) -> None:
    """A whole attach and renewal where the laboratory's packages cannot be imported."""
    program = f"""
import sys
sys.modules.update(dict.fromkeys({LABORATORY!r}))
import torch, regrow
model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
recipe = regrow.RandomOut(confirm='gradient', threshold=1e9, active_fraction=1.0)
run = regrow.attach(recipe, model, optimizer, example_inputs=torch.zeros(2, 1, 8, 8))
model(torch.rand(2, 1, 8, 8)).sum().backward()
optimizer.step()
print(run.report.renewed)
"""
    assert fresh(program, folder=tmp_path, forget={"regrow", *LABORATORY}) == (0, "2\n")


def test_importing_regrow_does_not_wait_for_torch() -> None:
    program = "import sys, regrow; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
