"""A gradient that an optimizer would not get over is found before the step, and the step is not made."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from crossed import crossed
from guard.driving import bits, drive, guarding, noise, same_bits
from regrow.guard import AdaptiveClip, Guarding, NormClip, StepLimit, WeightClip

NAN, INF = float("nan"), float("inf")

OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "sgd": lambda net: torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1),
    "adam": lambda net: torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=0.1),
    "adamw, fused": lambda net: torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True),
    "amsgrad": lambda net: torch.optim.AdamW(net.parameters(), lr=1e-3, amsgrad=True),
    "nadam": lambda net: torch.optim.NAdam(net.parameters(), lr=1e-3),
    "radam": lambda net: torch.optim.RAdam(net.parameters(), lr=1e-3),
    "adagrad": lambda net: torch.optim.Adagrad(net.parameters(), lr=1e-3),
    "adadelta": lambda net: torch.optim.Adadelta(net.parameters()),
    "adamax": lambda net: torch.optim.Adamax(net.parameters()),
    "rmsprop": lambda net: torch.optim.RMSprop(net.parameters(), lr=1e-4, momentum=0.9),
    "asgd": lambda net: torch.optim.ASGD(net.parameters(), lr=1e-3, weight_decay=0.1),
    "rprop": lambda net: torch.optim.Rprop(net.parameters(), lr=1e-3),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


def memory(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    return {
        f"{name} {key}": torch.as_tensor(value).detach().clone()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
        if value is not None
    }


def spoiler(model: nn.Sequential, value: float, at: int) -> Callable[[int], None]:
    def spoil(step: int) -> None:
        grad = model[0].weight.grad
        if step == at and isinstance(grad, Tensor):
            grad[1, 2] = value

    return spoil


@pytest.mark.parametrize(("kind", "value"), crossed(OPTIMIZERS, [NAN, INF, -INF, 1e25]))
def test_weights_and_memory_keep_their_bits(kind: str, value: float) -> None:
    model = network()
    optimizer = OPTIMIZERS[kind](model)
    guard = guarding(StepLimit(), model, torch.zeros(2, 5))
    batches = noise(6, 5)
    assert drive(model, optimizer, batches[:4], guard) == [True] * 4
    before, kept = bits(model), memory(optimizer, model)
    spoil = spoiler(model, value, 0)
    assert drive(model, optimizer, batches[4:5], guard, spoil=spoil) == [False]
    assert same_bits(before, bits(model))
    assert same_bits(kept, memory(optimizer, model))
    assert guard.state_dict()["refused"] == 1
    # And it goes on as if the step had never been there.
    twin = network()
    other = OPTIMIZERS[kind](twin)
    drive(twin, other, [*batches[:4], batches[5]], guarding(StepLimit(), twin, torch.zeros(2, 5)))
    drive(model, optimizer, batches[5:], guard)
    assert same_bits(bits(model), bits(twin))


def test_without_the_guard_one_such_gradient_is_for_ever() -> None:
    """What the test above would be worth otherwise."""
    model = network()
    optimizer = OPTIMIZERS["adam"](model)
    drive(model, optimizer, noise(3, 5), spoil=spoiler(model, 1e25, 1))
    assert bool(optimizer.state[model[0].weight]["exp_avg_sq"].isinf().any())


def test_the_gradients_are_there_again_after_the_step() -> None:
    model = network()
    optimizer = OPTIMIZERS["adam"](model)
    guard = guarding(StepLimit(), model, torch.zeros(2, 5))
    x, y = noise(1, 5)[0]
    nn.functional.cross_entropy(model(x), y).backward()
    grads = [each.grad for each in model.parameters()]
    grads[0][0, 0] = NAN  # type: ignore[index]
    assert not guard.before_step_(optimizer)
    assert all(each.grad is None for each in model.parameters())
    optimizer.step()
    guard.after_step_(optimizer)
    assert all(each.grad is grad for each, grad in zip(model.parameters(), grads, strict=True))


@pytest.mark.parametrize(
    ("value", "kept_in", "made"),
    [
        (1.8e19, torch.float32, True),  # its square is 3.2e38, and the largest number 3.4e38
        (1.9e19, torch.float32, False),
        (1.9e19, torch.float64, True),
        (1.9e19, torch.bfloat16, False),
        (250.0, torch.float16, True),
        (260.0, torch.float16, False),
        (260.0, torch.bfloat16, True),
    ],
)
def test_the_square_is_judged_in_the_type_of_the_memory(
    value: float, kept_in: torch.dtype, *, made: bool
) -> None:
    parameter = nn.Parameter(torch.zeros(3))
    model = nn.Module()
    model.linear = nn.Linear(2, 2)
    model.extra = parameter
    guard = guarding_of(model)
    optimizer = torch.optim.Adam([parameter])
    optimizer.state[parameter] = {
        "step": torch.tensor(1.0),
        "exp_avg": torch.zeros(3, dtype=kept_in),
    }
    parameter.grad = torch.tensor([0.0, value, 1.0])
    assert guard.before_step_(optimizer) == made


def guarding_of(model: nn.Module) -> Guarding:
    model.forward = model.linear.forward  # type: ignore[assignment]
    return guarding(StepLimit(), model, torch.zeros(2, 2))


def test_a_sum_that_overflows_is_no_reason() -> None:
    """No entry has a square beyond the type's range, and the length of all together has."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    guard = guarding(StepLimit(), model, torch.zeros(2, 5))
    for each in model.parameters():
        each.grad = torch.full_like(each, 1.7e19)
    assert guard.before_step_(optimizer)


def test_all_ranks_refuse_alike() -> None:
    model = network()
    optimizer = OPTIMIZERS["adam"](model)
    asked: list[float] = []

    def mean(mine: Tensor) -> Tensor:
        asked.append(float(mine[0]))
        return (mine + 1.0) / 2.0  # the other of two ranks has met one

    guard = guarding(StepLimit(), model, torch.zeros(2, 5), reduce=mean)
    before = bits(model)
    assert drive(model, optimizer, noise(1, 5), guard) == [False]
    assert asked == [0.0]
    assert same_bits(before, bits(model))


@pytest.mark.parametrize("guard", [AdaptiveClip(), NormClip(), WeightClip()])
def test_what_was_published_makes_the_step(guard: AdaptiveClip | NormClip | WeightClip) -> None:
    model = network()
    own = guarding(guard, model, torch.zeros(2, 5))
    assert drive(
        model, OPTIMIZERS["adam"](model), noise(1, 5), own, spoil=spoiler(model, NAN, 0)
    ) == [True]
    assert own.refused == 0


def test_under_a_scaler_that_has_found_an_infinity_nothing_is_hidden() -> None:
    """A fused optimizer is told by the scaler, and passes the step by itself."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    guard = guarding(StepLimit(), model, torch.zeros(2, 5))
    x, y = noise(1, 5)[0]
    (nn.functional.cross_entropy(model(x), y) * 1024.0).backward()
    model[0].weight.grad[0, 0] = INF  # type: ignore[index]
    optimizer.grad_scale = torch.tensor(1024.0)  # type: ignore[attr-defined]
    optimizer.found_inf = torch.tensor(1.0)  # type: ignore[attr-defined]
    before = bits(model)
    assert guard.before_step_(optimizer)
    optimizer.step()
    guard.after_step_(optimizer)
    assert same_bits(before, bits(model))
    assert guard.refused == 0


@pytest.mark.parametrize("fused", [False, True])
def test_with_a_scaler_it_is_the_training_without(*, fused: bool) -> None:
    """A scale of a power of two changes no bit of a gradient, so that the clips must see the same."""
    trained: list[dict[str, Tensor]] = []
    for scale in (None, 2.0**14):
        for clip in (AdaptiveClip(clip=0.05), NormClip(max_norm=0.3), StepLimit(fraction=0.001)):
            model = network()
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
            own = guarding(clip, model, torch.zeros(2, 5))
            _scaled(model, optimizer, own, scale)
            assert own.hits
            trained.append(bits(model))
    for plain, scaled in zip(trained[:3], trained[3:], strict=True):
        for name, value in plain.items():
            torch.testing.assert_close(value, scaled[name], rtol=1e-5, atol=1e-7)


def _scaled(model: nn.Module, optimizer: Optimizer, own: Guarding, scale: float | None) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
    optimizer.register_step_pre_hook(lambda o, args, kwargs: own.before_step_(o) and None)
    optimizer.register_step_post_hook(lambda o, args, kwargs: own.after_step_(o))
    for x, y in noise(8, 5):
        optimizer.zero_grad()
        scaler.scale(nn.functional.cross_entropy(model(x), y)).backward()
        scaler.step(optimizer)
        scaler.update()


def test_nothing_to_move_is_no_step() -> None:
    model = network()
    guard = guarding(StepLimit(), model, torch.zeros(2, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert guard.before_step_(optimizer)
    optimizer.step()
    guard.after_step_(optimizer)
    model[0].weight.grad = torch.zeros(4, 5).to_sparse()
    assert guard.before_step_(optimizer)
    assert SimpleNamespace(**guard.state_dict()).refused == 0
