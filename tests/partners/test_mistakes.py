"""What goes wrong in users' hands is told before training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import regrow
from partners.nets import EXAMPLE, Plain, attach, sgd
from regrow.errors import ConfigError, NoEffectWarning


def _call(**change: Any) -> regrow.Grafter:
    models = [Plain(), Plain()]
    given: dict[str, Any] = {
        "recipe": regrow.FilterGrafting(),
        "models": models,
        "optimizers": [sgd(model) for model in models],
        "example_inputs": EXAMPLE,
        "steps_per_epoch": 4,
        **change,
    }
    return regrow.attach_partners(
        given.pop("recipe"), given.pop("models"), given.pop("optimizers"), **given
    )


ONE = Plain()
OPTIMIZER = sgd(ONE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"recipe": regrow.RandomOut(confirm="gradient")},
            "acts inside one network: use regrow.attach",
        ),
        (
            {"recipe": regrow.FilterGrafting},
            r"as regrow.FilterGrafting\(\) makes it, got the class FilterG",
        ),
        ({"recipe": regrow.FilterGrafting(partners=3)}, "partners=3 needs as many models, got 2"),
        ({"models": [ONE, ONE]}, "models of their own, and one is there twice"),
        ({"models": [ONE, torch.compile(ONE, backend="eager")]}, "one is there twice"),
        ({"models": [ONE, "net"]}, "nn.Modules whose forward is Python, got str"),
        ({"models": [ONE]}, "an entry for each of 1 models, got 2"),
        ({"models": ONE}, "torch.distributed is not running: start with torchrun"),
        ({"optimizers": OPTIMIZER}, "an entry for each of 2 models, got one"),
        ({"optimizers": [OPTIMIZER]}, "an entry for each of 2 models, got 1"),
        ({"optimizers": [OPTIMIZER, OPTIMIZER]}, "every optimizer must be listed once"),
        ({"optimizers": [OPTIMIZER, []]}, "every partner needs an optimizer, got an empty list"),
        ({"example_inputs": None}, "needs example_inputs or wiring"),
        ({"steps_per_epoch": None}, "steps_per_epoch"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be a whole number of at least 1"),
        ({"timeout_s": 3.0}, "for one model a rank, and several models came"),
        ({"group": "all"}, "for one model a rank, and several models came"),
        (
            {"models": ONE, "optimizers": OPTIMIZER, "timeout_s": -1.0},
            "timeout_s must be above 0, got -1.0",
        ),
    ],
)
def test_mistakes_of_attach_partners(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        _call(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partners": 1}, "partners must be a whole number of at least 2, got 1"),
        ({"partners": 2.5}, "partners must be a whole number of at least 2, got 2.5"),
        ({"partners": True}, "partners must be a whole number of at least 2, got True"),
        ({"partners": "two"}, "partners must be a whole number of at least 2, got 'two'"),
        ({"criterion": "l2"}, "'entropy', 'filter_entropy' or 'l1', got 'l2'"),
        ({"amplitude": 1.5}, r"amplitude must be within \[0, 1\], got 1.5"),
        ({"amplitude": -0.1}, r"amplitude must be within \[0, 1\], got -0.1"),
        ({"sharpness": 0.0}, "sharpness must be above 0, got 0.0"),
        ({"sharpness": float("inf")}, "sharpness must be above 0, got inf"),
        ({"bins": 0}, "bins must be a whole number of at least 1, got 0"),
        ({"bins": 2.0}, "bins must be a whole number of at least 1, got 2.0"),
        ({"decimals": -1}, "decimals must be a whole number of at least 0, got -1"),
        ({"drop_maximum": "yes"}, "drop_maximum must be true or false, got 'yes'"),
        ({"unit": "channel"}, "unit must be 'layer' or 'filter', got 'channel'"),
        ({"mode": "code"}, "mode must be 'paper' or 'reference', got 'code'"),
        ({"memory": "drop"}, "memory must be 'keep', 'graft' or 'reset', got 'drop'"),
        ({"every_epochs": 0}, "at least 1"),
        ({"active_fraction": 2.0}, r"within \[0, 1\], got 2.0"),
        ({"at_end": 1}, "at_end must be true or false, got 1"),
    ],
)
def test_mistakes_of_the_recipe(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        regrow.FilterGrafting(**settings)
    assert "\n" not in str(caught.value)


def test_a_network_without_the_names_of_the_reference() -> None:
    models = [nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)) for _ in range(2)]
    with pytest.raises(ConfigError, match=r"'conv' in the names.*0.weight.*use mode='paper'"):
        attach(models, mode="reference")


def test_attach_refuses_a_recipe_of_several_networks() -> None:
    model = Plain()
    with pytest.raises(ConfigError, match=r"use regrow\.attach_partners"):
        regrow.attach(regrow.FilterGrafting(), model, sgd(model), example_inputs=EXAMPLE)  # type: ignore[arg-type]


def test_a_schedule_that_never_comes_is_told() -> None:
    with pytest.warns(NoEffectWarning, match="recipe 'grafting' will never act"):
        _call(total_steps=4)
