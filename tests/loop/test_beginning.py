"""Trainings that have begun before, go on for too long, or have the same recipe twice: said, once, with the way out."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from regrow.errors import ConfigError, RegrowWarning, StateError
from traced import attach_traced

EXAMPLE = torch.zeros(2, 1, 8, 8)
IMAGES = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
RECIPE = regrow.RandomOut(confirm="gradient", threshold=0.0, active_fraction=1.0)

OPTIMIZERS: dict[str, Any] = {
    "momentum": lambda each: torch.optim.SGD(each, lr=0.01, momentum=0.9),
    "adamw": lambda each: torch.optim.AdamW(each, lr=0.01),
    "rmsprop": lambda each: torch.optim.RMSprop(each, lr=0.01),
    # Its state is there before the first step, and is not zero.
    "adagrad": lambda each: torch.optim.Adagrad(each, lr=0.01, initial_accumulator_value=0.1),
}


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


def _step(model: nn.Module, *optimizers: torch.optim.Optimizer, steps: int = 1) -> None:
    for _ in range(steps):
        model.zero_grad()
        model(IMAGES).square().mean().backward()
        for each in optimizers:
            each.step()


def _attach(model: nn.Module, optimizer: Any, recipe: Any = RECIPE, **more: Any) -> regrow.Regrower:
    return attach_traced(recipe, model, optimizer, example_inputs=EXAMPLE, **more)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_resume_that_forgets_the_regrower(kind: str) -> None:
    model = _network()
    optimizer = OPTIMIZERS[kind](model.parameters())
    first = _attach(model, optimizer)
    _step(model, optimizer, steps=3)  # no warning: it has begun here

    resumed = _network()
    second = OPTIMIZERS[kind](resumed.parameters())
    forgets = _attach(resumed, second)
    second.load_state_dict(optimizer.state_dict())
    with pytest.warns(RegrowWarning, match=r"resumed must load its state too, .*load_state_dict"):
        _step(resumed, second)
    _step(resumed, second)  # once
    forgets.detach()

    right = _network()
    third = OPTIMIZERS[kind](right.parameters())
    remembers = _attach(right, third)
    third.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    remembers.load_state_dict(first.state_dict())
    _step(right, third)


def test_a_training_that_goes_on_after_its_total_steps() -> None:
    model = _network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recipe = regrow.RandomOut(confirm="gradient", threshold=0.0, active_fraction=0.5)
    _attach(model, optimizer, recipe, total_steps=3)
    _step(model, optimizer, steps=3)
    with pytest.warns(RegrowWarning, match="goes on after total_steps=3.*load_state_dict"):
        _step(model, optimizer)
    _step(model, optimizer, steps=2)  # once


class TestTheSameRecipeTwice:
    def test_a_cell_that_was_run_again(self) -> None:
        model = _network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        first = _attach(model, optimizer)
        _step(model, optimizer, steps=2)
        told = r"'randomout' is at work on this optimizer already, in 0, since 2 steps.*detach\(\)"
        with pytest.warns(RegrowWarning, match=told):
            _attach(model, optimizer)
        assert first.report.steps == 2

    def test_not_after_detach_elsewhere_or_in_a_dry_run(self) -> None:
        model, other = _network(), _network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _attach(model, optimizer, dry_run=True)
            _attach(model, optimizer).detach()
            _attach(model, optimizer, layers=("conv",))
            _attach(other, torch.optim.SGD(other.parameters(), lr=0.01))
            _attach(model, optimizer, regrow.NoiseScion(), total_steps=4, steps_per_epoch=2)


class TestWhatIsWrongIsTold:
    def test_a_generator_and_its_opponents_optimizer(self) -> None:
        generator = nn.Sequential(
            nn.ConvTranspose2d(4, 8, 4), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4)
        )
        opponent = _network()
        wrong = torch.optim.Adam(opponent.parameters())
        told = "of several networks, as of a GAN, each is attached with its own"
        with pytest.raises(ConfigError, match=told):
            attach_traced(
                RECIPE,
                generator,
                wrong,
                example_inputs=torch.zeros(1, 4, 1, 1),
                layers=("conv_transpose",),
            )

    def test_the_kinds_that_are_there_are_named(self) -> None:
        generator = nn.Sequential(
            nn.ConvTranspose2d(4, 8, 4), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4)
        )
        with pytest.raises(ConfigError, match=r"it has 0; give layers=\('conv_transpose',\)"):
            attach_traced(
                RECIPE,
                generator,
                torch.optim.Adam(generator.parameters()),
                example_inputs=torch.zeros(1, 4, 1, 1),
            )
        alone = nn.Linear(3, 2)
        with pytest.raises(ConfigError, match="no layer between its input and its output"):
            attach_traced(
                RECIPE,
                alone,
                torch.optim.Adam(alone.parameters()),
                example_inputs=torch.zeros(1, 3),
            )

    def test_a_closure_in_a_loop_without_hooks(self) -> None:
        """The gradients are made inside the step: before it there are none."""
        model = _network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        regrower = _attach(model, optimizer, hooks=False)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = model(IMAGES).square().mean()
            loss.backward()
            return loss

        with pytest.warns(RegrowWarning, match="where a closure makes .* attach with hooks=True"):
            regrower.before_step()
        optimizer.step(closure)
        regrower.after_step()

    def test_an_optimizer_of_several_that_never_steps(self) -> None:
        model = _network()
        parts: Any = list(model.children())
        first = torch.optim.SGD(parts[0].parameters(), lr=0.01)
        second = torch.optim.SGD(parts[3].parameters(), lr=0.01)
        _attach(model, [first, second])
        with pytest.warns(RegrowWarning) as told:
            _step(model, second)
        assert any("listed in the order in which they step" in str(one.message) for one in told)


def test_a_state_of_the_version_before_goes_on_bit_for_bit() -> None:
    """It knows nothing of norms that average with a count of their own."""
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=0.05, active_fraction=1.0, every_steps=2
    )

    def begin() -> tuple[nn.Module, torch.optim.Optimizer, regrow.Regrower]:
        model = _network()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        return model, optimizer, _attach(model, optimizer, recipe)

    model, optimizer, regrower = begin()
    _step(model, optimizer, steps=5)
    assert regrower.report.renewed
    now = regrower.state_dict()
    before = {key: value for key, value in now.items() if key != "counted"} | {"version": 4}
    saved = copy.deepcopy([model.state_dict(), optimizer.state_dict(), before])
    _step(model, optimizer, steps=3)

    again, second, resumed = begin()
    for part, state in zip((again, second, resumed), saved, strict=True):
        part.load_state_dict(state)
    _step(again, second, steps=3)
    for (name, one), two in zip(model.state_dict().items(), again.state_dict().values(), strict=True):  # fmt: skip
        assert torch.equal(one, two), name
    with pytest.raises(StateError, match="has version 3, this one has 5"):
        resumed.load_state_dict({**before, "version": 3})


def test_a_warning_is_at_the_user_s_line() -> None:
    """Not at one of torch's or of regrow's, however deep it is found."""
    model = _network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    regrower = _attach(model, optimizer, total_steps=1)
    found: list[str] = []
    for _ in range(2):
        model(IMAGES).square().mean().backward()
        if not found:
            model[0].weight.grad[0] = float("nan")  # type: ignore[index,union-attr]
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            optimizer.step()
        found += [each.filename for each in seen]
    assert found == [__file__, __file__]  # a score that is no number, and a step behind the last
    assert regrower.report.steps == 2
