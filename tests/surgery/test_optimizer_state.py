"""A renewed unit trains as a parameter of its own would; its neighbours do not notice."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from regrow.errors import OptimizerError, StateError
from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon, apply_edits_, unwrap_optimizer

ROWS, COLUMNS, BORN, STEPS = 4, 3, 7, 40
RENEWED = torch.tensor([False, True, False, True])

Make = Callable[[list[nn.Parameter]], Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "sgd momentum": lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "sgd nesterov": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "sgd dampening": lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.02),
    "sgd maximize": lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.3, maximize=True),
    "adam": lambda p: Adam(p, lr=0.01),
    "adam decay": lambda p: Adam(p, lr=0.01, weight_decay=0.1, betas=(0.8, 0.99)),
    "adam amsgrad": lambda p: Adam(p, lr=0.01, amsgrad=True, betas=(0.5, 0.9)),
    "adam maximize": lambda p: Adam(p, lr=0.01, maximize=True, foreach=True),
    "adamw": lambda p: AdamW(p, lr=0.01, weight_decay=0.2),
    "adamw fused": lambda p: AdamW(p, lr=0.01, weight_decay=0.2, fused=True),
    "adam tensor lr": lambda p: Adam(p, lr=torch.tensor(0.01, dtype=torch.float64)),
}


def _gradient(step: int, value: torch.Tensor) -> torch.Tensor:
    """Depends on the value, so that an error in one step is felt in the next ones."""
    generator = torch.Generator().manual_seed(step)
    noise = torch.randn(ROWS, COLUMNS, dtype=torch.float64, generator=generator)
    return noise.to(value.dtype) + 0.5 * value


def _fresh(dtype: torch.dtype) -> torch.Tensor:
    return (
        torch.linspace(-1, 1, ROWS * COLUMNS, dtype=torch.float64).reshape(ROWS, COLUMNS).to(dtype)
    )


def _train(make: Make, dtype: torch.dtype, *, renew: bool) -> tuple[torch.Tensor, OptimizerSurgeon]:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(ROWS, COLUMNS, dtype=torch.float64).to(dtype))
    optimizer = make([weight])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    for step in range(STEPS):
        weight.grad = _gradient(step, weight.detach())
        surgeon.before_step()
        optimizer.step()
        surgeon.after_step()
        if renew and step == BORN:
            edits = [Edit(name="w", mask=RENEWED[:, None], value=_fresh(dtype))]
            apply_edits_({"w": weight}, edits)
            surgeon.reset(edits)
    return weight.detach(), surgeon


def _oracle(make: Make) -> torch.Tensor:
    """Each renewed row is a parameter of its own, with an optimizer of its own, from its birth; float64."""
    rows = []
    for row in range(ROWS):
        torch.manual_seed(0)
        start, first = torch.randn(ROWS, COLUMNS, dtype=torch.float64)[row], 0
        if RENEWED[row]:
            start, first = _fresh(torch.float64)[row], BORN + 1
        weight = nn.Parameter(start.clone())
        optimizer = make([weight])
        for step in range(first, STEPS):
            everything = torch.zeros(ROWS, COLUMNS, dtype=torch.float64)
            everything[row] = weight.detach()
            weight.grad = _gradient(step, everything)[row]
            optimizer.step()
        rows.append(weight.detach())
    return torch.stack(rows)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_as_if_every_row_had_its_own_optimizer(name: str) -> None:
    make = OPTIMIZERS[name]
    found, _ = _train(make, torch.float64, renew=True)
    torch.testing.assert_close(found, _oracle(make), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_neighbours_keep_their_bits(name: str) -> None:
    make = OPTIMIZERS[name]
    found, _ = _train(make, torch.float32, renew=True)
    untouched, _ = _train(make, torch.float32, renew=False)
    assert torch.equal(found[~RENEWED], untouched[~RENEWED])
    assert not torch.equal(found[RENEWED], untouched[RENEWED])


def test_zeroing_the_moments_alone_would_not_do() -> None:
    """The reason for the correction: without it the renewed rows stray far from the oracle."""
    weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = Adam([weight], lr=0.01)
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    sizes = []
    for step in range(1010):
        weight.grad = torch.ones(2, dtype=torch.float64)
        before = weight.detach().clone()
        optimizer.step()
        uncorrected = (weight.detach() - before).abs()[0].item()
        surgeon.after_step()
        sizes.append((uncorrected, (weight.detach() - before).abs().tolist()))
        if step == 999:
            edits = [Edit(name="w", mask=torch.tensor([True, False]), value=0.0)]
            apply_edits_({"w": weight}, edits)
            surgeon.reset(edits)
    for uncorrected, (renewed, neighbour) in sizes[1000:]:
        assert uncorrected > 0.02
        assert renewed == pytest.approx(0.01, rel=1e-6)
        assert neighbour == pytest.approx(0.01, rel=1e-6)


def test_masks_along_different_axes_of_one_weight() -> None:
    """A weight's own filters and the slices that read another layer are renewed at different times."""
    weight = nn.Parameter(torch.ones(3, 2, dtype=torch.float64))
    optimizer = Adam([weight], lr=0.01)
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    rows, columns = torch.tensor([[True], [False], [False]]), torch.tensor([[False, True]])
    ages = torch.zeros(3, 2)
    for step in range(30):
        weight.grad = torch.ones(3, 2, dtype=torch.float64)
        before = weight.detach().clone()
        optimizer.step()
        surgeon.after_step()
        moved = (before - weight.detach()).double()
        torch.testing.assert_close(
            moved, torch.full((3, 2), 0.01, dtype=torch.float64), rtol=1e-6, atol=0
        )
        ages += 1
        for at, mask in ((5, rows), (9, columns)):
            if step == at:
                surgeon.reset([Edit(name="w", mask=mask, value=0.0)])
    assert surgeon.state_dict()["ages"]["w"].tolist() == [[24, 20], [0, 20], [0, 20]]


def test_a_tensor_without_gradient_does_not_age() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = Adam([weight], lr=0.01)
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    weight.grad = torch.ones(2)
    optimizer.step()
    surgeon.reset([Edit(name="w", mask=torch.tensor([True, False]), value=0.0)])
    weight.grad = None
    before = weight.detach().clone()
    optimizer.step()
    surgeon.after_step()
    assert torch.equal(before, weight.detach())
    assert surgeon.state_dict()["ages"]["w"].tolist() == [0, 0]


def test_ages_are_forgotten_when_they_no_longer_matter() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = Adam([weight], lr=0.01, betas=(0.5, 0.5))
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    for step in range(45):
        weight.grad = torch.ones(2)
        optimizer.step()
        surgeon.after_step()
        if step == 3:
            surgeon.reset([Edit(name="w", mask=torch.tensor([True, False]), value=0.0)])
    assert surgeon.state_dict() == {"ages": {}, "newborn": {}, "counts": {}}


@pytest.mark.parametrize("name", ["sgd dampening", "adam", "adamw fused"])
def test_saved_and_loaded_goes_on_bit_for_bit(name: str, tmp_path: object) -> None:
    make = OPTIMIZERS[name]
    path = f"{tmp_path}/state.pt"
    weights = []
    for interrupted in (False, True):
        weight = nn.Parameter(torch.ones(ROWS, COLUMNS))
        optimizer = make([weight])
        surgeon = OptimizerSurgeon(optimizer, {"w": weight})
        for step in range(20):
            weight.grad = _gradient(step, weight.detach())
            surgeon.before_step()
            optimizer.step()
            surgeon.after_step()
            if step in {6, 11}:
                edits = [Edit(name="w", mask=RENEWED[:, None], value=_fresh(torch.float32))]
                apply_edits_({"w": weight}, edits)
                surgeon.reset(edits)
            if interrupted and step in {6, 13}:
                torch.save([weight.detach(), optimizer.state_dict(), surgeon.state_dict()], path)
                values, optimizer_state, surgeon_state = torch.load(path, weights_only=True)
                weight = nn.Parameter(values)
                optimizer = make([weight])
                optimizer.load_state_dict(optimizer_state)
                surgeon = OptimizerSurgeon(optimizer, {"w": weight})
                surgeon.load_state_dict(surgeon_state)
        weights.append(weight.detach())
    assert torch.equal(*weights)


def test_refusals() -> None:
    weight = nn.Parameter(torch.ones(2))
    with pytest.raises(
        OptimizerError, match=r"state of RMSprop cannot be edited.*known: SGD, Adam, AdamW"
    ):
        OptimizerSurgeon(RMSprop([weight]), {"w": weight})

    class Mine(Adam):
        """A subclass may do anything with its state."""

    with pytest.raises(OptimizerError, match="Mine"):
        OptimizerSurgeon(Mine([weight]), {"w": weight})
    with pytest.raises(OptimizerError, match=r"torch\.optim\.Optimizer is needed, got int"):
        unwrap_optimizer(3)
    surgeon = OptimizerSurgeon(Adam([weight]), {"w": weight})
    state = {"ages": {"v": torch.zeros(1)}, "newborn": {}, "counts": {}}
    with pytest.raises(StateError, match="not watched here: v"):
        surgeon.load_state_dict(state)


def test_unwrap_follows_wrappers() -> None:
    inner = SGD([nn.Parameter(torch.ones(1))], lr=0.1)

    class Wrapper:
        optimizer = inner

    assert unwrap_optimizer(Wrapper()) is inner
    assert unwrap_optimizer(inner) is inner
