"""The two scions that need no other network, in live trainings."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import regrow
from regrow.draw import Key
from regrow.draw.keys import normal_rows
from regrow.errors import ConfigError
from regrow.renewal import AddNoise
from regrow.schedule import Every

EXAMPLE = torch.zeros(2, 1, 8, 8)
EPOCH, EPOCHS = 4, 3
LAYERS = ("0", "3")
Batches = list[tuple[torch.Tensor, torch.Tensor]]
Make = Callable[..., regrow.Recipe]
MAKERS: list[Make] = [regrow.NoiseScion, regrow.InternalScion]
THRESHOLD = 2.9


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, **how: Any) -> None:
    images, labels = (each.to(**how) if each.is_floating_point() else each for each in batch)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()


def _attach(
    recipe: regrow.Recipe, model: nn.Module, optimizer: Any, **told: Any
) -> regrow.Regrower:
    known = {"total_steps": EPOCH * EPOCHS, "steps_per_epoch": EPOCH, "seed": 5}
    return regrow.attach(recipe, model, optimizer, **{"example_inputs": EXAMPLE, **known, **told})


def _l1(row: list[float]) -> float:
    return sum(abs(value) for value in row)


def _noised(rows: list[list[float]], low: list[int], layer: str, step: int) -> list[list[float]]:
    after = [list(row) for row in rows]
    for f in low:
        key = Key(seed=5, step=step, layer=layer, purpose="scion")
        noise = normal_rows(key, filters=torch.tensor([f]), count=len(rows[f]))[0].tolist()
        sigma = 0.9 ** ((step + 1) // EPOCH)
        after[f] = [w + sigma * n for w, n in zip(rows[f], noise, strict=True)]
    return after


def _strengthened(rows: list[list[float]], low: list[int], *_: Any) -> list[list[float]]:
    after = [list(row) for row in rows]
    order = sorted(range(len(rows)), key=lambda f: _l1(rows[f]))
    for i, f in enumerate(order):
        other = order[len(order) - 1 - i]
        if f in low and f != other:
            after[f] = [a + b for a, b in zip(rows[f], rows[other], strict=True)]
    return after


@pytest.mark.parametrize(
    ("recipe", "graft"),
    [
        (regrow.NoiseScion(threshold=THRESHOLD, decay=0.9), _noised),
        (regrow.InternalScion(threshold=THRESHOLD), _strengthened),
    ],
)
def test_a_whole_training_is_the_papers_loop(
    recipe: regrow.Recipe,
    graft: Callable[..., list[list[float]]],
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    """In float64, with the optimizer's memory kept: after each epoch but the last, plain lists of numbers."""
    model = small_cnn(0)
    model.double()
    plain = copy.deepcopy(model)
    optimizer, other = _sgd(model), _sgd(plain)
    regrower = _attach(recipe, model, optimizer, example_inputs=EXAMPLE.double())
    grafted = 0
    for step, batch in enumerate(batches(EPOCH * EPOCHS)):
        _step(model, optimizer, batch, dtype=torch.float64)
        before = {
            name: plain.get_parameter(f"{name}.weight").flatten(1).tolist() for name in LAYERS
        }
        _step(plain, other, batch, dtype=torch.float64)
        if (step + 1) % EPOCH or step + 1 == EPOCH * EPOCHS:
            continue
        for name in LAYERS:
            weight = plain.get_parameter(f"{name}.weight")
            low = [f for f, row in enumerate(before[name]) if _l1(row) < THRESHOLD]
            grafted += len(low)
            after = graft(weight.detach().flatten(1).tolist(), low, name, step)
            with torch.no_grad():
                weight.copy_(torch.tensor(after, dtype=torch.float64).reshape(weight.shape))
    assert grafted == regrower.report.renewed > 4
    for mine, its in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", MAKERS)
def test_a_filter_of_zeros_is_grafted_and_counted(
    make: Make, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    """With the default threshold, which no other filter here is below."""
    model = small_cnn(0)
    weight, scale = model.get_parameter("0.weight"), model.get_parameter("1.weight")
    with torch.no_grad():
        weight[2] = 0.0
        scale[2] = 0.0  # so that no gradient reaches the filter
    scale.requires_grad_(requires_grad=False)
    optimizer = _sgd(model)
    regrower = _attach(make(), model, optimizer)
    for batch in batches(EPOCH):
        assert not weight[2].any()
        _step(model, optimizer, batch)
    (event,) = regrower.report.events
    assert (event.step, event.layer, event.filters, event.scores) == (3, "0", (2,), (0.0,))
    assert weight[2].all()
    if make is regrow.InternalScion:
        sizes = weight.detach().abs().flatten(1).sum(1)
        sizes[2] = 0.0
        assert torch.equal(weight[2], weight[int(sizes.argmax())])


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("reset", [False, True])
def test_the_optimizers_memory_goes_on_or_begins_anew(
    make: Make,
    reset: bool,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], Batches],
) -> None:
    model = small_cnn(0)
    optimizer = _sgd(model)
    seen: list[torch.Tensor] = []
    weight = model.get_parameter("3.weight")
    optimizer.register_step_post_hook(  # before the recipe's own
        lambda *_: seen.append(optimizer.state[weight]["momentum_buffer"].clone())
    )
    recipe = make(threshold=THRESHOLD, optimizer_state="exact" if reset else "kept")
    assert make(threshold=THRESHOLD).optimizer_state == "kept"  # so that any optimizer will do
    regrower = _attach(recipe, model, optimizer)
    for batch in batches(EPOCH):
        _step(model, optimizer, batch)
    (event,) = [event for event in regrower.report.events if event.layer == "3"]
    memory, grafted = optimizer.state[weight]["momentum_buffer"], list(event.filters)
    rest = [f for f in range(6) if f not in grafted]
    assert grafted
    assert torch.equal(memory[rest], seen[-1][rest])
    if reset:
        assert not memory[grafted].any()
    else:
        assert torch.equal(memory, seen[-1])


@pytest.mark.parametrize("reset", [False, True])
def test_a_companion_lives_on_or_takes_the_new_filter_over(
    reset: bool, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    model, average = small_cnn(0), small_cnn(1)
    optimizer = _sgd(model)
    recipe = regrow.NoiseScion(threshold=THRESHOLD, optimizer_state="exact" if reset else "kept")
    own = average.get_parameter("0.weight").detach().clone()
    stepped: dict[str, torch.Tensor] = {}
    optimizer.register_step_post_hook(
        lambda *_: stepped.update({"0": model.get_parameter("0.weight").detach().clone()})
    )
    regrower = _attach(recipe, model, optimizer, companions=[average])
    for batch in batches(EPOCH):
        _step(model, optimizer, batch)
    grafted = list(regrower.report.events[0].filters)
    mine, its = (net.get_parameter("0.weight").detach() for net in (model, average))
    assert grafted
    if reset:
        assert torch.equal(its[grafted], mine[grafted])
    else:
        torch.testing.assert_close(
            (its - own)[grafted], (mine - stepped["0"])[grafted], rtol=0, atol=1e-6
        )
    rest = [f for f in range(4) if f not in grafted]
    assert torch.equal(its[rest], own[rest])


@pytest.mark.parametrize("make", MAKERS)
def test_when_it_acts(
    make: Make, small_cnn: Callable[[int], nn.Module], batches: Callable[[int], Batches]
) -> None:
    """At the end of epochs, but not where nobody trains on; where the end is not known, at every epoch's."""

    def steps(recipe: regrow.Recipe, **told: Any) -> list[int]:
        model = small_cnn(0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        regrower = _attach(recipe, model, optimizer, **told)
        for batch in batches(EPOCH * EPOCHS):
            _step(model, optimizer, batch)
        return sorted({event.step for event in regrower.report.events})

    assert steps(make(threshold=100.0)) == [3, 7]
    assert steps(make(threshold=100.0, at_end=True)) == [3, 7, 11]
    assert steps(make(threshold=100.0), total_steps=None) == [3, 7, 11]
    assert steps(make(threshold=100.0, every_epochs=2)) == [7]
    assert steps(make(threshold=100.0, active_fraction=0.5)) == [3]
    assert steps(make(threshold=0.0)) == []


@pytest.mark.parametrize("make", MAKERS)
def test_epochs_need_their_length(make: Make, small_cnn: Callable[[int], nn.Module]) -> None:
    model = small_cnn(0)
    with pytest.raises(ConfigError, match=r"every_epochs=1 needs attach\(steps_per_epoch=\.\.\.\)"):
        _attach(make(), model, _sgd(model), steps_per_epoch=None)


def test_noise_in_a_recipe_of_ones_own_needs_it_too(
    small_cnn: Callable[[int], nn.Module],
) -> None:
    model = small_cnn(0)
    noise = regrow.NoiseScion()
    own = regrow.Recipe(
        info=noise.info,
        criterion=noise.criterion,
        select=noise.select,
        renew=AddNoise(),
        when=Every(steps=3),
    )
    with pytest.raises(
        ConfigError, match=r"needs attach\(steps_per_epoch=\.\.\.\) \(recipe 'noise-scion'\)"
    ):
        _attach(own, model, _sgd(model), steps_per_epoch=None)
