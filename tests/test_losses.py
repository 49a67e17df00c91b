"""Overlap penalty and distillation against plain loops, and their gradients."""

import math

import pytest
import torch
from torch import nn

import regrow
from regrow.errors import ConfigError, ShapeError
from regrow.losses import distillation, overlap_penalty


def _net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            *(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.ConvTranspose2d(3, 4, 2, groups=1)),
            *(nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 2)),
        ).double()


def test_the_penalty_is_the_sum_of_all_cosines() -> None:
    net = _net()
    wiring = regrow.trace(net, torch.zeros(1, 2, 4, 4, dtype=torch.float64))
    layers = wiring.renewable(layers=("conv", "conv_transpose"))
    expected = 0.0
    for filters in (net[0].weight.flatten(1), net[2].weight.transpose(0, 1).flatten(1)):
        for f, mine in enumerate(filters.tolist()):
            for j, other in enumerate(filters.tolist()):
                if f != j:
                    product = sum(a * b for a, b in zip(mine, other, strict=True))
                    expected += abs(product) / math.hypot(*mine) / math.hypot(*other)
    penalty = overlap_penalty(net, layers)
    assert penalty.item() == pytest.approx(0.01 * expected, rel=1e-12)
    penalty.backward()
    assert net[0].weight.grad.any()
    assert net[2].weight.grad.any()
    assert net[5].weight.grad is None
    assert overlap_penalty(net, layers, weight=0.0).item() == 0.0


def test_the_gradients_are_those_of_the_formulas() -> None:
    weight = nn.Parameter(torch.randn(3, 5, dtype=torch.float64, generator=_generator()))
    net = nn.Sequential(nn.Linear(5, 3, bias=False), nn.Linear(3, 2)).double()
    layers = regrow.trace(net, torch.zeros(1, 5, dtype=torch.float64)).renewable(("linear",))

    def penalty(rows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            net[0].weight.copy_(rows)
        value = overlap_penalty(net, layers, weight=0.3)
        (gradient,) = torch.autograd.grad(value, net[0].weight)
        return value.detach() + (gradient * (rows - rows.detach())).sum()

    assert torch.autograd.gradcheck(penalty, (weight,))
    logits = torch.randn(4, 3, dtype=torch.float64, generator=_generator(), requires_grad=True)
    teachers = [torch.randn(4, 3, dtype=torch.float64, generator=_generator(1)) for _ in range(2)]
    for combine in ("mean", "sum"):
        assert torch.autograd.gradcheck(
            lambda x, how=combine: distillation(x, teachers, temperature=3.0, combine=how),
            (logits,),
        )


def test_one_step_along_the_penalty_makes_filters_less_alike() -> None:
    net = _net()
    wiring = regrow.trace(net, torch.zeros(1, 2, 4, 4, dtype=torch.float64))
    layers = wiring.renewable()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    before = overlap_penalty(net, layers).item()
    for _ in range(50):
        optimizer.zero_grad()
        overlap_penalty(net, layers, weight=1.0).backward()
        optimizer.step()
    assert overlap_penalty(net, layers).item() < 0.5 * before


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_filter_of_zeros_adds_nothing_and_has_a_gradient() -> None:
    net = _net()
    with torch.no_grad():
        net[0].weight[0] = 0.0
    layers = regrow.trace(net, torch.zeros(1, 2, 4, 4, dtype=torch.float64)).renewable()
    overlap_penalty(net, layers).backward()
    assert net[0].weight.grad.isfinite().all()


def test_distillation_is_the_divergence_from_the_mean_of_the_teachers() -> None:
    logits = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.3, -0.2]], dtype=torch.float64)
    teachers = [logits + 1.0, torch.tensor([[1.0, 1.0, 0.0], [3.0, 0.0, 0.0]]).double()]

    def soft(row: list[float]) -> list[float]:
        powers = [math.exp(value / 2.0) for value in row]
        return [power / sum(powers) for power in powers]

    def divergence(p: list[float], q: list[float]) -> float:
        return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))

    mean = total = 0.0
    for n in range(2):
        q = soft(logits[n].tolist())
        ps = [soft(teacher[n].tolist()) for teacher in teachers]
        mean += divergence([sum(each) / 2 for each in zip(*ps, strict=True)], q) / 2
        total += sum(divergence(p, q) for p in ps) / 2
    assert distillation(logits, teachers).item() == pytest.approx(4 * mean, rel=1e-12)
    assert distillation(logits, teachers, combine="sum").item() == pytest.approx(
        4 * total, rel=1e-12
    )
    assert distillation(logits, [logits], temperature=1.0).item() == pytest.approx(0.0, abs=1e-15)


def test_no_gradient_reaches_a_teacher() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    teacher = torch.eye(3)[:2].requires_grad_()
    distillation(logits, [teacher]).backward()
    assert logits.grad is not None
    assert logits.grad.any()
    assert teacher.grad is None


def test_wrong_input() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ConfigError, match="at least one teacher"):
        distillation(x, [])
    with pytest.raises(ConfigError, match="temperature must be above 0, got 0"):
        distillation(x, [x], temperature=0.0)
    with pytest.raises(ConfigError, match="combine must be 'mean' or 'sum', got 'max'"):
        distillation(x, [x], combine="max")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"shape \(2, 3\) are needed, got \(2, 4\)"):
        distillation(x, [torch.zeros(2, 4)])
    with pytest.raises(ConfigError, match="at least one layer"):
        overlap_penalty(_net(), [])
    with pytest.raises(ConfigError, match="weight must be at least 0, got -1"):
        overlap_penalty(_net(), [], weight=-1.0)
