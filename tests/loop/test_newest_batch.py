"""Calibration inputs that a function gives: the newest batch at each decision that needs one, and at no other step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regrow
from regrow.compose import Recipe, RecipeInfo
from regrow.criteria import MeanActivation, RandomScore
from regrow.errors import ConfigError
from regrow.renewal import Redraw
from regrow.schedule import Every
from regrow.selection import CountsOf
from traced import attach_traced

INFO = RecipeInfo(name="newest", summary="Of these tests.")
BATCHES = torch.randn(9, 6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def _net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 3, 3, padding=1),
            nn.Flatten(),
            nn.Linear(48, 2),
        )


class Stream:
    """Gives one batch after the other, and counts."""

    def __init__(self, batches: Any = BATCHES) -> None:
        self.batches = batches
        self.calls = 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return self.batches[self.calls - 1]


def _recipe(*, preserve: bool = False, steps: int = 2) -> Recipe:
    counts = {(step, layer): 1 for step in range(9) for layer in ("0", "2")}
    return Recipe(
        info=INFO,
        criterion=RandomScore() if preserve else MeanActivation(),
        select=CountsOf(counts=counts),
        renew=Redraw(preserve=preserve),
        when=Every(steps=steps),
    )


def _attach(recipe: Recipe, net: nn.Module, inputs: Any, **told: Any) -> regrow.Regrower:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    return attach_traced(
        recipe, net, optimizer, example_inputs=BATCHES[0], calibration_inputs=inputs, **told
    )


def _step(net: nn.Module, regrower: regrow.Regrower) -> None:
    net(BATCHES[0]).square().sum().backward()
    regrower.before_step()
    regrower.after_step()


def test_a_criterion_sees_the_batch_of_its_step() -> None:
    net, stream = _net(), Stream()
    regrower = _attach(_recipe(), net, stream, hooks=False)
    assert stream.calls == 1
    for step in range(6):
        means = []
        for batch in BATCHES:
            heard = net[1](net[0](batch))
            means.append(heard.abs().mean((0, 2, 3)))
        _step(net, regrower)
        due = step % 2 == 1
        assert stream.calls == 1 + (step + 1) // 2
        if due:
            event = next(e for e in regrower.report.events if (e.step, e.layer) == (step, "0"))
            lowest = means[stream.calls - 1].amin().item()
            assert event.scores == pytest.approx((lowest,), rel=1e-5)


def test_a_renewal_that_keeps_the_output_measures_on_one_new_batch() -> None:
    net, stream = _net(), Stream()
    regrower = _attach(_recipe(preserve=True, steps=1), net, stream, hooks=False)
    assert stream.calls == 1
    for step in range(3):
        batch = BATCHES[step + 1]
        before = net(batch).detach()
        _step(net, regrower)
        after = net(batch).detach()
        assert stream.calls == step + 2  # of two layers in one decision
        moved = (after.double() - before.double()).abs().amax() / before.double().abs().amax()
        assert regrower.report.events[-1].change == pytest.approx(moved.item(), rel=1e-5, abs=1e-7)


def test_targets_come_with_the_inputs() -> None:
    net, inputs = _net(), Stream()
    labels = Stream([torch.full((6,), index % 2) for index in range(9)])
    recipe = regrow.RePr(s1=2, s2=1, cycles=2, unit="steps", rank_by="taylor")
    regrower = _attach(recipe, net, inputs, calibration_targets=labels, hooks=False)
    for _ in range(5):
        _step(net, regrower)
    assert (
        inputs.calls == labels.calls == 3
    )  # when it was attached, and at the beginning of each drop phase


@pytest.mark.parametrize(
    ("second", "match"),
    [
        (torch.zeros(0, 1, 4, 4), "must hold a tensor with the examples at axis 0"),
        (torch.zeros(3, 2, 4, 4), "must run on calibration_inputs, and raised"),
        (5, "must hold a tensor with the examples at axis 0"),
    ],
)
def test_a_later_batch_is_checked_as_the_first_one(second: Any, match: str) -> None:
    net = _net()
    regrower = _attach(_recipe(steps=1), net, Stream([BATCHES[0], second]), hooks=False)
    with pytest.raises(ConfigError, match=match):
        _step(net, regrower)


def test_the_saved_state_knows_nothing_of_it() -> None:
    saved: list[Any] = []
    make: tuple[Callable[[], Any], ...] = (lambda: BATCHES[1], lambda: lambda: BATCHES[1])
    for inputs in make:
        net = _net()
        regrower = _attach(_recipe(), net, inputs(), hooks=False)
        for _ in range(4):
            _step(net, regrower)
        state = regrower.state_dict()
        state["report"]["seconds"] = 0.0
        saved.append((state, [tensor.clone() for tensor in net.state_dict().values()]))
        again = _attach(_recipe(), net, inputs(), hooks=False)
        again.load_state_dict(state)
        assert again.report.events == regrower.report.events
    assert str(saved[0][0]) == str(saved[1][0])
    assert all(torch.equal(*pair) for pair in zip(saved[0][1], saved[1][1], strict=True))


def test_a_recipe_that_needs_no_data_asks_for_none() -> None:
    stream = Stream()
    recipe = regrow.RandomOut(confirm="gradient", active_fraction=1.0)
    net = _net()
    _step(net, _attach(recipe, net, stream, hooks=False))
    assert stream.calls == 0
