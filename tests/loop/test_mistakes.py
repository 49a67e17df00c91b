"""What goes wrong in users' hands: each is told before training, or does no harm."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from regrow.errors import ConfigError, NoEffectWarning, OptimizerError, RegrowWarning
from regrow.graph import Wiring

EXAMPLE = torch.zeros(2, 1, 8, 8)
Batches = list[tuple[torch.Tensor, torch.Tensor]]
Make = Callable[[int], nn.Module]
RECIPE = regrow.RandomOut(confirm="gradient", threshold=1e-12, active_fraction=1.0)


class ClosureTwice(torch.optim.SGD):
    """Evaluates its closure twice a step, as sharpness-aware optimizers do."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        assert closure is not None
        with torch.enable_grad():
            closure()
            return super().step(closure)


def test_a_closure_that_is_called_twice_makes_one_decision(
    small_cnn: Make, batches: Callable[[int], Batches]
) -> None:
    """And a subclass that calls its parent's step makes one step, though torch hooks both."""
    model = small_cnn(0)
    torch.optim.SGD(model.parameters(), lr=0.1)  # from here on SGD.step is hooked
    with torch.no_grad():
        model[3].weight[1] = 0.0  # type: ignore[index]
        model[3].bias[1] = -1.0  # type: ignore[index]
    optimizer = ClosureTwice(model.parameters(), lr=0.1)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e-12, active_fraction=1.0, optimizer_state="kept"
    )
    regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE)
    for images, labels in batches(2):

        def closure(x: torch.Tensor = images, y: torch.Tensor = labels) -> torch.Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
    assert (regrower.report.steps, regrower.report.checks) == (2, 2)
    assert [event.filters for event in regrower.report.events] == [(1,)]

    def broken() -> torch.Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        optimizer.step(broken)
    optimizer.step(closure)
    assert regrower.report.steps == 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"recipe": regrow.RandomOut},
            ConfigError,
            r"as RandomOut\(\) makes it, got the class RandomOut",
        ),
        (
            {"recipe": "randomout"},
            ConfigError,
            r"as regrow.RandomOut\(\) makes it, got 'randomout'",
        ),
        ({"model": "net"}, ConfigError, "model must be an nn.Module whose forward is Python"),
        (
            {"companions": nn.Linear(1, 1)},
            ConfigError,
            "list or tuple of modules, or of .*, got Linear",
        ),
        ({"companions": [{}]}, ConfigError, "list or tuple of modules, or of .*, got dict"),
        ({"reset_state": "none"}, ConfigError, "reset_state must be"),
        ({"optimizer": torch.optim.LBFGS}, OptimizerError, "one gradient, and LBFGS evaluates"),
    ],
)
def test_plain_mistakes_are_told(
    change: dict[str, Any], error: type[Exception], message: str, small_cnn: Make
) -> None:
    model = small_cnn(0)
    told: dict[str, Any] = {"recipe": RECIPE, "model": model, **change}
    kind = told.pop("optimizer", lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    with pytest.raises(error, match=message) as caught:
        regrow.attach(
            told.pop("recipe"),
            told.pop("model"),
            kind(model.parameters()),
            example_inputs=EXAMPLE,
            **told,
        )
    assert "\n" not in str(caught.value)


def test_an_optimizer_of_another_model(small_cnn: Make) -> None:
    other = torch.optim.SGD(small_cnn(1).parameters(), lr=0.1)
    with pytest.raises(ConfigError, match="the optimizer trains none of this model's parameters"):
        regrow.attach(RECIPE, small_cnn(0), other, example_inputs=EXAMPLE)


@pytest.mark.parametrize("readers", ["keep", "zero"])
def test_what_is_frozen_in_the_optimizer_is_left_alone(readers: str, small_cnn: Make) -> None:
    """requires_grad decides, not membership: what is taken from a frozen reader never comes back."""
    model = small_cnn(0)
    model[1].requires_grad_(requires_grad=False)  # type: ignore[index]
    model[3].requires_grad_(requires_grad=False)  # type: ignore[index]
    with torch.no_grad():
        model[0].weight[2] = 0.0  # type: ignore[index]
        model[0].bias[2] = -9.0  # type: ignore[index]
        model[1].weight.fill_(0.5)  # type: ignore[index]
    reader = model[3].weight.clone()  # type: ignore[index]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e9, active_fraction=1.0, readers=readers
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", NoEffectWarning)
        regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE)
    model(torch.randn(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    waits = readers == "zero"
    assert set(regrower.report.layers) == (set() if waits else {"0"})
    assert regrower.report.renewed == (0 if waits else 4)
    assert any("no layer can be renewed now" in str(each.message) for each in told) == waits
    assert torch.equal(model[3].weight, reader)  # type: ignore[index]
    assert (model[1].weight == 0.5).all()  # type: ignore[index]
    notes = " | ".join(regrower.report.notes)
    assert "not trained now, and watched from the step in which they are: 3" in notes
    assert ("0: not renewed before 3.weight is trained" in notes) == waits
    assert (
        "0: 1.weight, 1.bias, 1.running_mean, 1.running_var kept, which the optimizer does not train"
        in notes
    )


def test_a_last_optimizer_that_never_steps(
    small_cnn: Make, batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)  # type: ignore[index]
    second = torch.optim.SGD(model[3].parameters(), lr=0.1)  # type: ignore[index]
    regrow.attach(RECIPE, model, [first, second], example_inputs=EXAMPLE)
    images, labels = batches(1)[0]
    nn.functional.cross_entropy(model(images), labels).backward()
    first.step()
    with pytest.warns(RegrowWarning, match="or none is renewed"):
        first.step()
    first.step()  # told once


def _wired(small_cnn: Make, **change: Any) -> Wiring:
    wiring = regrow.trace(small_cnn(0), EXAMPLE)
    first, *others = wiring.layers
    if "reader" in change:
        change = {"readers": (replace(first.readers[0], **change["reader"]),)}
    if "norm" in change:
        change = {"norms": (replace(first.norms[0], **change["norm"]),)}
    return replace(wiring, layers=(replace(first, **change), *others))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 5}, "'0' has 5 filters in it, and 4 in the model"),
        ({"reader": {"weight": "nope.weight"}}, "'0' needs nope.weight, which is not in the model"),
        ({"reader": {"groups": 4}}, "cannot have 4 groups with shape"),
        ({"reader": {"channels": ((9,), (1,), (2,), (3,))}}, "has channels 0 to 3, not 9"),
        ({"reader": {"channels": ((0,),)}}, "lists 1 filter, the layer has 4"),
        ({"reader": {"alone": ((), (), (), ())}}, "one flag in alone for each of its channels"),
        (
            {"norm": {"channels": ((7,), (1,), (2,), (3,))}},
            "norm '1' of '0' has channels 0 to 3, not 7",
        ),
    ],
)
def test_a_wiring_by_hand_is_checked(change: dict[str, Any], message: str, small_cnn: Make) -> None:
    model = small_cnn(0)
    with pytest.raises(ConfigError, match=message):
        regrow.attach(
            RECIPE,
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            wiring=_wired(small_cnn, **change),
        )


def test_companions_that_move_and_companions_that_cannot_be_written(
    small_cnn: Make, batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    companion = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0)
    regrower = regrow.attach(
        recipe, model, optimizer, example_inputs=EXAMPLE, companions=[companion]
    )
    companion.double()  # replaces its buffers
    with torch.no_grad():
        companion[1].running_mean.fill_(3.0)  # type: ignore[index]
    images, labels = batches(1)[0]
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
    assert regrower.report.renewed
    assert not companion[1].running_mean.any()  # type: ignore[index]
    with torch.inference_mode():
        frozen = copy.deepcopy(model)
    with pytest.raises(ConfigError, match="made in inference mode"):
        regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE, companions=[frozen])


@pytest.mark.parametrize("drop", [False, True])
def test_a_frozen_norm_keeps_its_statistics(small_cnn: Make, drop: bool) -> None:
    """In evaluation mode it would never learn them again."""
    model = small_cnn(0)
    model(torch.randn(16, 1, 8, 8))
    model[1].eval().requires_grad_(requires_grad=False)  # type: ignore[index]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    if drop:
        recipe = regrow.RePr(s1=1, s2=1, cycles=1, unit="steps", fraction=0.6)
    else:
        recipe = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0)
    regrower = regrow.attach(recipe, model, optimizer, example_inputs=EXAMPLE)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(2, 1, 8, 8)).sum().backward()
        optimizer.step()
    assert "0" in {event.layer for event in regrower.report.events}
    for name in ("1.weight", "1.bias", "1.running_mean", "1.running_var"):
        assert torch.equal(model.state_dict()[name], before[name]), name
