"""A message names the argument that its reader wrote: of the recipe, or of the part where he made it himself."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from regrow.compose import RecipeInfo
from regrow.errors import ConfigError
from regrow.partnership import PartnerRecipe
from regrow.schedule import Cycles, Every
from regrow.weighing import ByInformation
from traced import attach_traced

RECIPES = (
    regrow.RandomOut,
    regrow.RePr,
    regrow.FilterGrafting,
    regrow.NoiseScion,
    regrow.InternalScion,
    regrow.ReDo,
    regrow.ReGraMa,
    regrow.ContinualBackprop,
    regrow.PartialReset,
    regrow.SelfNormalizedResets,
    regrow.ShrinkPerturb,
    regrow.L2Init,
    regrow.FIRE,
)
NAMES = [(make, name) for make in RECIPES for name in inspect.signature(make).parameters]
WRONG = (-1, 0, 2.5, float("nan"), "no such word")
# Settings that no value can make wrong by itself: switches, and what is looked at when the model is there.
UNCHECKED = re.compile(
    "reset_.*|preserve|keep_one|corrected|exclude_first|grace_steps|init|look_every"
)


@pytest.mark.parametrize(
    ("make", "name"), NAMES, ids=[f"{make.__name__}-{name}" for make, name in NAMES]
)
def test_of_a_recipe(make: Callable[..., object], name: str) -> None:
    refused: list[str] = []
    for value in WRONG:
        try:
            make(**{name: value})
        except ConfigError as error:
            refused.append(str(error))
    assert all(re.search(rf"\b{name}\b", message) for message in refused), refused
    assert refused or UNCHECKED.fullmatch(name), f"{name} takes anything"


@pytest.mark.parametrize(
    ("make", "settings", "said"),
    [
        (Every, {"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        (Every, {"epochs": 1.5}, "epochs must be a whole number of at least 1, got 1.5"),
        (Every, {"steps": 1, "epochs": 1}, "give steps or epochs, not both"),
        (
            regrow.RandomOut,
            {"every_steps": 1, "every_epochs": 1},
            "give every_steps or every_epochs",
        ),
        (Cycles, {"s1": 0, "s2": 1, "cycles": 1}, "s1 must be a whole number"),
        (ByInformation, {"criterion": "l2"}, "criterion must be 'entropy'"),
    ],
)
def test_of_a_part(make: Callable[..., object], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}"):
        make(**settings)


def test_of_a_recipe_that_was_composed() -> None:
    info = RecipeInfo(name="own", summary="a recipe of one's own")
    with pytest.raises(ConfigError, match=r"^mode must be 'paper' or 'reference', got 'x'"):
        PartnerRecipe(
            info=info,
            partners=2,
            weigh=ByInformation(),
            when=Every(epochs=1),
            mode="x",  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (regrow.RandomOut(every_epochs=2, active_fraction=1.0), "every_epochs=2 needs"),
        (regrow.RePr(), "s1=20 and s2=10 epochs need"),
        (regrow.NoiseScion(every_epochs=3), "every_epochs=3 needs"),
    ],
)
def test_when_it_is_attached(recipe: regrow.Recipe, said: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ConfigError, match=re.escape(said)):
        attach_traced(recipe, model, optimizer, example_inputs=torch.zeros(1, 1, 8, 8))
