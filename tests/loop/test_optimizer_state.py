"""What becomes of what an optimizer remembers of renewed entries, by the recipe's word: against plain torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import regrow
import regrow.errors
import regrow.history
from crossed import crossed, seldom
from loop.loops import EXAMPLE, Batches
from regrow.compose import Recipe
from regrow.errors import ConfigError

Cnn = Callable[[int], nn.Module]
Some = Callable[[int], Batches]

STATES = ("exact", "zeroed", "kept")
RECIPES: dict[str, Callable[..., Recipe]] = {
    # Where readers are 0, a renewed filter has no gradient in its first step.
    "redo": partial(regrow.ReDo, threshold=1.0, every_steps=6, readers="keep"),
    "regrama": partial(regrow.ReGraMa, threshold=1.0, every_steps=6, readers="keep"),
    "randomout": partial(
        regrow.RandomOut, confirm="gradient", threshold=0.5, every_steps=6, active_fraction=1.0
    ),
}


def stepped(model: nn.Module, optimizer: torch.optim.Optimizer, some: Batches) -> None:
    for images, labels in some:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


def entries(event: regrow.history.Renewed, weight: Tensor) -> Tensor:
    mask = torch.zeros_like(weight, dtype=torch.bool)
    mask[list(event.filters)] = True
    return mask


@pytest.mark.parametrize(
    ("name", "state"), crossed(seldom(RECIPES, often=("redo", "randomout")), STATES)
)
def test_moments_and_counts_behind_a_renewal_and_the_step_after_it(
    name: str, state: str, small_cnn: Cnn, batches: Some
) -> None:
    """The step after it is that of plain torch from the same weights, moments and counts; or, exact, it is not."""
    model = small_cnn(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    seen: dict[str, Tensor] = {}
    weight = model.get_parameter("3.weight")
    optimizer.register_step_post_hook(  # before the recipe's own
        lambda *_: seen.update({key: each.clone() for key, each in optimizer.state[weight].items()})
    )
    recipe = RECIPES[name](optimizer_state=state)
    regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE, include=["3"])
    left = batches(16)
    while not regrower.report.events:
        stepped(model, optimizer, [left.pop(0)])
    (event,) = regrower.report.events
    renewed, own = entries(event, weight), optimizer.state[weight]
    for key in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(own[key][~renewed], seen[key][~renewed])
        assert seen[key][renewed].any()
        if state == "kept":
            assert torch.equal(own[key], seen[key])
        else:
            assert not own[key][renewed].any()
    assert torch.equal(own["step"], seen["step"])

    twin = copy.deepcopy(model)
    plain = torch.optim.Adam(twin.parameters(), lr=0.01)
    plain.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    corrected = regrower.state_dict()["optimizers"][0]
    for net, made in ((model, optimizer), (twin, plain)):
        stepped(net, made, left[:1])
    after, other = weight.detach(), twin.get_parameter("3.weight").detach()
    assert torch.equal(after[~renewed], other[~renewed])
    if state == "exact":
        assert corrected["young"]
        assert not torch.equal(after[renewed], other[renewed])
    else:
        assert not corrected or not corrected["young"]
        assert torch.equal(after[renewed], other[renewed])


@pytest.mark.parametrize("state", STATES)
def test_a_whole_training_resumes(state: str, small_cnn: Cnn, batches: Some) -> None:
    def start(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, regrow.Regrower]:
        model = small_cnn(seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        recipe = RECIPES["redo"](optimizer_state=state)
        return model, optimizer, regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE)

    whole = start(0)
    stepped(*whole[:2], batches(16))
    first = start(0)
    stepped(*first[:2], batches(16)[:8])
    assert first[2].report.renewed
    second = start(1)
    for each, other in zip(second, first, strict=True):
        each.load_state_dict(copy.deepcopy(other.state_dict()))
    stepped(*second[:2], batches(16)[8:])
    for one, two in zip(whole[0].parameters(), second[0].parameters(), strict=True):
        assert torch.equal(one, two)


def test_zeroed_takes_an_optimizer_that_exact_refuses(small_cnn: Cnn, batches: Some) -> None:
    """Of one whose arithmetic nobody knows it is the user's word that zero is right."""

    class Odd(torch.optim.Adam):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            super().step(closure)

    model = small_cnn(0)
    optimizer = Odd(model.parameters(), lr=0.01)
    with pytest.raises(regrow.errors.OptimizerError, match="optimizer_state='kept'"):
        regrow.attach(RECIPES["redo"](), model, optimizer, example_inputs=EXAMPLE)
    recipe = RECIPES["redo"](optimizer_state="zeroed")
    regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE)
    stepped(model, optimizer, batches(6))
    event = next(each for each in regrower.report.events if each.layer == "3")
    weight = model.get_parameter("3.weight")
    moment = optimizer.state[weight]["exp_avg"]
    assert not moment[list(event.filters)].any()
    assert float(optimizer.state[weight]["step"]) == 6.0


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'exact', 'zeroed' or 'kept', got False \(recipe 'redo"):
        regrow.ReDo(optimizer_state=False)  # type: ignore[arg-type]
