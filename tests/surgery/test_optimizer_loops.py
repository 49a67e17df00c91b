"""The surgeon in a user's loop: gradient scalers, hooks of others, groups, tied weights, a GPU."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from crossed import seldom
from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon, apply_edits_

Make = Callable[[list[nn.Parameter]], Optimizer]
FIRST = torch.tensor([True, False])


def _hooked(optimizer: Optimizer, surgeon: OptimizerSurgeon) -> None:
    optimizer.register_step_pre_hook(lambda *_: surgeon.before_step())
    optimizer.register_step_post_hook(lambda *_: surgeon.after_step())


def _renew(weight: nn.Parameter, surgeon: OptimizerSurgeon, mask: Tensor, value: float) -> None:
    edits = [Edit(name="w", mask=mask, value=value)]
    apply_edits_({"w": weight}, edits)
    surgeon.reset(edits)


SCALED: dict[str, Make] = {
    "SGD": lambda p: optim.SGD(
        p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1, fused=True
    ),
    "Adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1, fused=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01, fused=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1, weight_decay=0.1, fused=True),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01, weight_decay=0.1),
    "SGD not fused": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3),
}


def _scaled(make: Make, *, start: float, first: int, row: int | None) -> Tensor:
    """Under a gradient scaler, with infinities right before and after the renewal; `row`: alone, from `first` on."""
    weight = nn.Parameter(torch.full((2 if row is None else 1,), start))
    optimizer = make([weight])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    _hooked(optimizer, surgeon)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=7)
    cancelled = 0
    for step in range(first, 60):
        generator = torch.Generator().manual_seed(step)
        noise = torch.randn(2, generator=generator)
        noise = noise if row is None else noise[row : row + 1]
        optimizer.zero_grad()
        loss = (noise * weight + 0.25 * weight**2).sum()
        scaler.scale(loss).backward()
        if step in {19, 21, 40}:
            weight.grad[0] = torch.inf
            cancelled += 1
        before = weight.detach().clone()
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(before, weight.detach()) == (step in {19, 21, 40})
        if step == 20 and row is None:
            _renew(weight, surgeon, FIRST, 0.5)
    assert cancelled > 0
    return weight.detach()


@pytest.mark.parametrize("name", seldom(SCALED, often=list(SCALED)[::2]))
def test_under_a_gradient_scaler(name: str) -> None:
    """Fused optimizers see scaled gradients, and their hooks fire though an infinity has cancelled the step."""
    found = _scaled(SCALED[name], start=1.0, first=0, row=None)
    # Step 21 was cancelled. A fused SGD of torch's that begins with a cancelled step has garbage for a momentum.
    alone = _scaled(SCALED[name], start=0.5, first=22, row=0)
    twin = _scaled(SCALED[name], start=1.0, first=0, row=1)
    torch.testing.assert_close(found[:1], alone, rtol=3e-6, atol=3e-7)
    torch.testing.assert_close(found[1:], twin, rtol=3e-6, atol=3e-7)


@pytest.mark.parametrize("kind", ["SGD", "NAdam", "Adagrad"])
def test_a_hook_of_another_may_drop_or_replace_the_gradient(kind: str) -> None:
    """Dropped after the step, before the surgeon looks; replaced (clipped) before it, after the surgeon has looked."""
    make: Make = {
        "SGD": SCALED["SGD not fused"],
        "NAdam": SCALED["NAdam"],
        "Adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1),
    }[kind]
    results: list[Tensor] = []
    for order in ("quiet", "dropped", "replaced"):
        weight = nn.Parameter(torch.ones(2))
        optimizer = make([weight])
        surgeon = OptimizerSurgeon(optimizer, {"w": weight})
        if order == "dropped":
            optimizer.register_step_post_hook(lambda opt, *_: opt.zero_grad())
        _hooked(optimizer, surgeon)
        if order == "replaced":

            def clip(_: Optimizer, *args: object, weight: nn.Parameter = weight) -> None:
                del args
                weight.grad = weight.grad.clamp(-1, 1)

            optimizer.register_step_pre_hook(clip)
        for step in range(20):
            grad = torch.tensor([3.0, -3.0]) + step
            weight.grad = grad if order == "replaced" else grad.clamp(-1, 1)
            optimizer.step()
            if step == 5:
                _renew(weight, surgeon, FIRST, 0.25)
        results.append(weight.detach())
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_groups_have_their_own_options() -> None:
    """Two groups in one optimizer are as two optimizers; the surgeon looks up the options of each parameter."""
    options = [
        {"lr": 0.01, "betas": (0.9, 0.999), "weight_decay": 0.1},
        {"lr": 0.1, "betas": (0.5, 0.9), "amsgrad": True},
    ]

    def run(wanted: list[int]) -> list[Tensor]:
        weights = {index: nn.Parameter(torch.ones(2)) for index in wanted}
        groups = [{"params": [weights[index]], **options[index]} for index in wanted]
        optimizer = optim.Adam(groups)
        surgeon = OptimizerSurgeon(optimizer, {f"w{i}": w for i, w in weights.items()})
        for step in range(40):
            for index, weight in weights.items():
                generator = torch.Generator().manual_seed(2 * step + index)
                weight.grad = torch.randn(2, generator=generator)
            optimizer.step()
            surgeon.after_step()
            if step == 9:
                edits = [Edit(name=f"w{i}", mask=FIRST, value=0.0) for i in wanted]
                apply_edits_({f"w{i}": w for i, w in weights.items()}, edits)
                surgeon.reset(edits)
            if step == 20:  # loading a state puts new groups in the place of the old
                optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        return [weight.detach() for weight in weights.values()]

    both, alone = run([0, 1]), [*run([0]), *run([1])]
    assert all(torch.equal(*pair) for pair in zip(both, alone, strict=True))


@pytest.mark.parametrize("kind", [optim.Adam, optim.NAdam])
def test_tied_weights_age_once(kind: type[Optimizer]) -> None:
    results = []
    for names in (("w",), ("w", "also")):
        weight = nn.Parameter(torch.ones(2))
        optimizer = kind([weight])
        surgeon = OptimizerSurgeon(optimizer, dict.fromkeys(names, weight))
        for step in range(20):
            weight.grad = torch.ones(2)
            surgeon.before_step()
            optimizer.step()
            surgeon.after_step()
            if step == 5:
                surgeon.reset([Edit(name=name, mask=FIRST, value=0.0) for name in names])
        results.append(weight.detach())
        assert list(surgeon.state_dict()["young"]) == ["w"]
    assert torch.equal(*results)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.Adam(p, lr=0.01, capturable=True),
        lambda p: optim.AdamW(p, lr=0.01, fused=True),
        lambda p: optim.NAdam(p, lr=0.01, capturable=True),
        lambda p: optim.RAdam(p, lr=0.01, capturable=True),
        lambda p: optim.ASGD(p, lr=0.01, capturable=True, lambd=0.1),
        lambda p: optim.Rprop(p, capturable=True),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3),
    ],
)
def test_on_a_gpu_where_the_step_is_a_tensor_there(make: Make) -> None:
    def run(*, first: int, alone: bool) -> Tensor:
        weight = nn.Parameter(torch.full((1 if alone else 2,), 0.5, device="cuda"))
        optimizer = make([weight])
        surgeon = OptimizerSurgeon(optimizer, {"w": weight})
        for step in range(first, 60):
            noise = torch.randn(2, generator=torch.Generator().manual_seed(step)).cuda()
            weight.grad = noise[: len(weight)] + 0.5 * weight.detach()
            surgeon.before_step()
            optimizer.step()
            surgeon.after_step()
            surgeon.after_step()
            if step == 9 and not alone:
                _renew(weight, surgeon, FIRST.cuda(), 0.5)
        return weight.detach()[:1]

    found, wanted = run(first=0, alone=False), run(first=10, alone=True)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
