"""The health of a network in training, in its log: every so many steps, and nothing of the training is changed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import regrow
from regrow.errors import ConfigError, RegrowWarning
from traced import attach_traced

X = torch.randn(120, 1, 8, 8, generator=torch.Generator().manual_seed(1))
Y = torch.arange(120) % 3
Written = dict[int, dict[str, float]]


def _train(*, hooks: bool = True, **options: Any) -> tuple[list[Tensor], Written]:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3))
    with torch.no_grad():
        model[0].bias[2] = -100.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    written: Written = {}

    def log(step: int, values: Mapping[str, float]) -> None:
        found = {name: each for name, each in values.items() if name.startswith("regrow/health/")}
        if found:  # the recipe has numbers of its own there
            written.setdefault(step, {}).update(found)

    recipe = regrow.RandomOut(active_fraction=1.0)
    regrower = attach_traced(
        recipe,
        model,
        optimizer,
        example_inputs=X[:2],
        log=log,
        log_every=100,
        dry_run=True,
        hooks=hooks,
        **options,
    )
    for _ in range(7):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        if not hooks:
            regrower.before_step()
        optimizer.step()
        if not hooks:
            regrower.after_step()
    return [each.detach() for each in model.parameters()], written


@pytest.mark.parametrize("hooks", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_it_is_there_every_few_steps_and_the_training_keeps_its_bits(hooks: bool) -> None:
    plain, nothing = _train(hooks=hooks)
    looked, written = _train(hooks=hooks, inspect_on=[(X, Y)], inspect_every=3)
    assert nothing == {}
    assert all(torch.equal(a, b) for a, b in zip(plain, looked, strict=True))
    assert set(written) == {3, 6}
    for values in written.values():
        assert values["regrow/health/dead"] == values["regrow/health/dead/0"] == 1 / 8
        assert values["regrow/health/symptoms"] >= 1
        assert values["regrow/health/gain/0"] > 0
        assert values["regrow/health/step/0"] > 0
    assert written[6]["regrow/health/loss"] < written[3]["regrow/health/loss"]


@pytest.mark.parametrize(
    "given",
    [
        X,
        DataLoader(TensorDataset(X, Y), batch_size=60),
        pytest.param(lambda: [(X, Y)], id="function"),
    ],
    ids=["batch", "loader", None],
)
def test_data_are_what_inspect_takes_or_a_function_that_gives_them(given: Any) -> None:
    _, written = _train(inspect_on=given, inspect_every=3)
    assert [values["regrow/health/dead"] for values in written.values()] == [1 / 8, 1 / 8]
    assert ("regrow/health/loss" in written[3]) == (given is not X)


def test_a_function_that_draws_its_data_leaves_the_trainings_random_numbers() -> None:
    def drawn() -> Tensor:
        return X[torch.randperm(120)] + random.random() + np.random.rand()  # noqa: NPY002, S311

    def after(**options: Any) -> tuple[float, ...]:
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        _train(**options)
        return float(torch.rand(())), random.random(), np.random.rand()  # noqa: NPY002, S311

    assert after(inspect_on=drawn, inspect_every=3) == after()


def test_a_look_that_fails_costs_one_warning_and_no_training() -> None:
    with pytest.warns(
        RegrowWarning, match="has failed at step 3, and there is none from here on"
    ) as said:
        _, written = _train(inspect_on=X[:, :, :3], inspect_every=3)
    assert len(said) == 1
    assert written == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"inspect_on": iter([X])},
            "inspect_on must be a batch, or something .* got a list_iterator",
        ),
        ({"inspect_on": X, "inspect_every": 0}, "inspect_every must be"),
    ],
)
def test_mistakes_are_named_before_the_training(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _train(**options)


def test_without_a_log_there_is_nowhere_to_write() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ConfigError, match="inspect_on needs a log"):
        attach_traced(
            regrow.RandomOut(active_fraction=1.0),
            model,
            optimizer,
            example_inputs=X[:2],
            inspect_on=X,
        )
