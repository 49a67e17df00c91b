"""One recipe, several optimizers."""

import io
from collections.abc import Callable

import pytest
import torch
from torch import nn

import regrow
from regrow.errors import ConfigError, RegrowWarning, StateError
from traced import attach_traced

EXAMPLE = torch.zeros(2, 1, 8, 8)
Batches = list[tuple[torch.Tensor, torch.Tensor]]


def _split(model: nn.Module) -> list[torch.optim.Optimizer]:
    """The first convolution and all biases in one, the rest in another."""
    named = dict(model.named_parameters())
    first = [name for name in named if name.startswith("0.") or name.endswith("bias")]
    return [
        torch.optim.SGD([named[name] for name in first], lr=0.05, momentum=0.9),
        torch.optim.AdamW([named[name] for name in named if name not in first], lr=0.01),
    ]


def _train(model: nn.Module, optimizers: list[torch.optim.Optimizer], batches: Batches) -> None:
    for images, labels in batches:
        for optimizer in optimizers:
            optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        for optimizer in optimizers:
            optimizer.step()


def _attach(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> regrow.Regrower:
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=0.4, active_fraction=1.0, every_steps=4, readers="zero"
    )
    return attach_traced(recipe, model, optimizers, example_inputs=EXAMPLE)


def test_filters_of_both_are_renewed_with_the_memory_of_fresh_ones(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    optimizers = _split(model)
    regrower = _attach(model, optimizers)
    _train(model, optimizers, batches(4))
    assert regrower.report.steps == 4
    renewed = {event.layer: list(event.filters) for event in regrower.report.events}
    assert set(renewed) == {"0", "3"}
    weights, biases = model.get_parameter("3.weight"), model.get_parameter("3.bias")
    assert not optimizers[1].state[weights]["exp_avg"][renewed["3"]].any()
    assert not optimizers[0].state[biases]["momentum_buffer"][renewed["3"]].any()
    assert not biases[renewed["3"]].any()
    # The reader of the first layer is in the other optimizer. Its own fresh filters read fresh ones.
    old = [row for row in range(6) if row not in renewed["3"]]
    assert old
    assert not weights[old][:, renewed["0"]].any()


def test_one_optimizer_is_two_with_the_same_options(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    whole, parts = small_cnn(0), small_cnn(0)
    named = dict(parts.named_parameters())
    groups = [[named[n] for n in named if "weight" in n], [named[n] for n in named if "bias" in n]]
    one = [torch.optim.Adam(whole.parameters(), lr=0.01)]
    two: list[torch.optim.Optimizer] = [torch.optim.Adam(group, lr=0.01) for group in groups]
    reports = [_attach(whole, one).report, _attach(parts, two).report]
    _train(whole, one, batches(13))
    _train(parts, two, batches(13))
    assert reports[0].events
    assert reports[0].events == reports[1].events
    for mine, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_resumed_is_uninterrupted(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    def start(seed: int) -> tuple[nn.Module, list[torch.optim.Optimizer], regrow.Regrower]:
        model = small_cnn(seed)
        optimizers = _split(model)
        return model, optimizers, _attach(model, optimizers)

    whole, optimizers, regrower = start(0)
    _train(whole, optimizers, batches(16))
    first, optimizers, regrower = start(0)
    _train(first, optimizers, batches(16)[:6])
    file = io.BytesIO()
    states = [each.state_dict() for each in (first, *optimizers, regrower)]
    torch.save(states, file)
    file.seek(0)
    second, optimizers, regrower = start(1)
    for each, state in zip(
        (second, *optimizers, regrower), torch.load(file, weights_only=True), strict=True
    ):
        each.load_state_dict(state)
    _train(second, optimizers, batches(16)[6:])
    for mine, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(mine, other)
    alone = torch.optim.Adam(small := second.parameters(), lr=0.1)
    del small
    with pytest.raises(StateError, match="number of optimizers"):
        _attach(second, [alone]).load_state_dict(states[-1])


def test_wrong_orders_and_lists_are_told(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model = small_cnn(0)
    optimizers = _split(model)
    regrower = _attach(model, optimizers[::-1])
    with pytest.warns(RegrowWarning, match="must be listed in the order in which they step"):
        _train(model, optimizers, batches(1))
    regrower.detach()
    with pytest.raises(ConfigError, match="an empty list"):
        _attach(model, [])
    with pytest.raises(ConfigError, match="listed once"):
        _attach(model, [optimizers[0], optimizers[0]])


def test_hooks_off(
    small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    hooked, by_hand = small_cnn(0), small_cnn(0)
    first, second = _split(hooked), _split(by_hand)
    recipe = regrow.RandomOut(confirm="gradient", threshold=0.4, active_fraction=1.0, every_steps=4)
    report = attach_traced(recipe, hooked, first, example_inputs=EXAMPLE).report
    regrower = attach_traced(recipe, by_hand, second, example_inputs=EXAMPLE, hooks=False)
    for batch in batches(9):
        _train(hooked, first, [batch])
        _train(by_hand, second, [batch])
        regrower.step()
    assert report.events == regrower.report.events
    assert report.events
