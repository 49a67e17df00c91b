"""Controls of every recipe: at random, the best in the place of the worst, and nobody, which is plain training."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from contract.rows import VARIANTS
from contract.test_every_recipe import OPTIMIZERS, STEPS, Batches, Run
from crossed import crossed, seldom
from regrow import recipes
from regrow.errors import ConfigError

Cnn = Callable[[int], nn.Module]
Made = Callable[[int], Batches]
TESTED = seldom(
    [name for name in VARIANTS if name != "random"],  # a control itself
    often=(
        *("randomout by silence", "repr", "noise-scion"),
        *("redo", "regrama", "continual-backprop", "partial-reset"),
    ),
)
"""Quick are one recipe of each kind that makes its controls in a way of its own."""


def equal(one: Run, other: Run) -> bool:
    mine, theirs = one.values(), other.values()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize(("name", "optimizer"), crossed(TESTED, OPTIMIZERS))
def test_never_is_plain_training_bit_for_bit(
    name: str, optimizer: str, small_cnn: Cnn, batches: Made
) -> None:
    """With the mechanism on: it looks and decides in every step in which the recipe does."""
    row, make = VARIANTS[name], OPTIMIZERS[optimizer]
    recipe = row.make(**row.acts)
    never = Run(small_cnn(0), make, recipes.never(recipe)).train(batches(STEPS))
    plain = Run(small_cnn(0), make, None).train(batches(STEPS))
    assert equal(never, plain)
    for key, memory in plain.optimizer.state_dict()["state"].items():
        mine = never.optimizer.state_dict()["state"][key]
        assert all(
            torch.equal(torch.as_tensor(mine[each]), torch.as_tensor(memory[each]))
            for each in memory
        )
    assert not never.report.events
    assert never.report.checks > 0


@pytest.mark.parametrize(("name", "optimizer"), crossed(TESTED, OPTIMIZERS))
def test_inverted_takes_as_many_and_others_the_first_time(
    name: str, optimizer: str, small_cnn: Cnn, batches: Made
) -> None:
    """Until then both trainings are the same; later each goes its own way."""
    row, make = VARIANTS[name], OPTIMIZERS[optimizer]
    recipe = row.make(**row.acts)
    runs = [Run(small_cnn(0), make, each) for each in (recipe, recipes.inverted(recipe))]
    for batch in batches(STEPS):
        for run in runs:
            run.train([batch])
        if any(run.report.events for run in runs):
            break
    ours, theirs = (run.report.events for run in runs)
    assert [(e.step, e.layer, len(e.filters)) for e in ours] == [
        (e.step, e.layer, len(e.filters)) for e in theirs
    ]
    assert not equal(*runs)
    if recipe.select.graded:  # all are moved, by other strengths
        assert [e.filters for e in ours] == [e.filters for e in theirs]
    else:
        assert [e.filters for e in ours] != [e.filters for e in theirs]


@pytest.mark.parametrize(("name", "optimizer"), crossed(TESTED, OPTIMIZERS))
def test_at_random_has_its_counts_layers_steps_and_renewal(
    name: str, optimizer: str, small_cnn: Cnn, batches: Made
) -> None:
    row, make = VARIANTS[name], OPTIMIZERS[optimizer]
    recipe = row.make(**row.acts)
    tested = Run(small_cnn(0), make, recipe).train(batches(STEPS))
    control = recipes.at_random(recipe, like=tested.report.events)
    found = Run(small_cnn(0), make, control, seed=1).train(batches(STEPS))
    assert control.renew == recipe.renew
    assert control.guard == recipe.guard
    assert found.report.events
    assert [(e.step, e.layer, len(e.filters)) for e in found.report.events] == [
        (e.step, e.layer, len(e.filters)) for e in tested.report.events
    ]
    assert not equal(found, tested)
    picked = [[e.filters for e in run.report.events] for run in (found, tested)]
    assert (
        picked[0] == picked[1]
    ) == recipe.select.graded  # who moves everybody deals out strengths


def test_of_a_graded_recipe_the_strengths_are_dealt_out_within_each_layer(
    small_cnn: Cnn, batches: Made
) -> None:
    """The first time both trainings are the same until then: each layer has the same scores, in another order."""
    row = VARIANTS["partial-reset"]
    recipe = row.make(**row.acts)
    control = recipes.at_random(recipe, like=())
    runs = [
        Run(small_cnn(0), OPTIMIZERS["adamw"], each).train(batches(6)) for each in (recipe, control)
    ]
    ours, theirs = (run.report.events for run in runs)
    assert [e.layer for e in ours] == [e.layer for e in theirs] == ["0", "3"]
    for mine, other in zip(ours, theirs, strict=True):
        assert sorted(mine.scores) == sorted(other.scores)
    assert [e.scores for e in ours] != [e.scores for e in theirs]


@pytest.mark.parametrize("control", ["random", "inverted", "never"])
@pytest.mark.parametrize("name", ["redo", "regrama", "continual-backprop", "partial-reset"])
def test_by_name_with_the_recipes_own_settings(name: str, control: str) -> None:
    acts = VARIANTS[name].acts
    found = recipes.build(control, {"of": name, **acts}, like=())
    recipe = VARIANTS[name].make(**acts)
    makers = {
        "random": lambda: recipes.at_random(recipe, like=()),
        "inverted": lambda: recipes.inverted(recipe),
        "never": lambda: recipes.never(recipe),
    }
    assert found.parts == makers[control]().parts
    assert found.info.name == f"{control} {name}"
    assert found.info.role == recipes.info(control).role


@pytest.mark.parametrize(
    ("control", "settings", "said"),
    [
        ("inverted", {}, "of must name the recipe that 'inverted' is a control of, got ''"),
        ("never", {"of": "grafting"}, "of must name a recipe that renews filters, got 'grafting'"),
        ("inverted", {"of": "random"}, "of must name a recipe that renews filters, got 'random'"),
        ("never", {"of": "redo", "every_step": 3}, "did you mean 'every_steps'"),
        ("never", {"of": "red"}, "unknown recipe 'red' (did you mean 'redo'?)"),
        ("random", {"of": "redo"}, "needs the events of the run that it is like"),
    ],
)
def test_what_is_no_recipe_to_control_is_refused(
    control: str, settings: dict[str, object], said: str
) -> None:
    with pytest.raises((ConfigError, LookupError)) as caught:
        recipes.build(control, settings, where="study.toml: arms.a.settings")
    assert said in str(caught.value)
    assert str(caught.value).startswith("study.toml: arms.a.settings: ")
