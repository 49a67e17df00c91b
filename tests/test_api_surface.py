"""The public names: a removal is a decision, and the core stays light."""

import subprocess
import sys

import regrow

PUBLIC = {
    "FilterGrafting",
    "Filters",
    "Grafted",
    "Grafter",
    "InternalScion",
    "NoiseScion",
    "Norm",
    "PartnerRecipe",
    "PartnerReport",
    "RandomControl",
    "RandomOut",
    "Reader",
    "RePr",
    "Recipe",
    "RecipeInfo",
    "Detached",
    "Regrower",
    "Renewed",
    "Report",
    "Teachers",
    "Wiring",
    "attach",
    "attach_partners",
    "trace",
}

LABORATORY = ("scipy", "matplotlib", "pydantic", "typer", "rich", "sklearn", "pooch", "PIL")


def test_public_names() -> None:
    assert set(regrow.__all__) == PUBLIC
    for name in regrow.__all__:
        assert getattr(regrow, name).__doc__
    assert set(dir(regrow)) >= PUBLIC


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(regrow, "randomout")


def test_the_core_needs_torch_and_jaxtyping_alone() -> None:
    """A whole attach and renewal in a fresh interpreter in which the laboratory's packages cannot be imported."""
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
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2"


def test_importing_regrow_does_not_wait_for_torch() -> None:
    program = "import sys, regrow; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
