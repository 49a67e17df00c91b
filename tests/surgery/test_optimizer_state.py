"""What the surgeon keeps of renewed entries, for how long, and what it refuses."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from regrow.errors import OptimizerError, StateError
from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon, apply_edits_

Make = Callable[[list[nn.Parameter]], Optimizer]
FIRST = torch.tensor([True, False])


def _dampened(params: list[nn.Parameter]) -> Optimizer:
    return optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.3)


def _renew(weight: nn.Parameter, surgeon: OptimizerSurgeon, mask: Tensor, value: float) -> None:
    edits = [Edit(name="w", mask=mask, value=value)]
    apply_edits_({"w": weight}, edits)
    surgeon.reset(edits)


def test_shifted_entries_and_buffers_are_left_alone() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = optim.Adam([weight])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    weight.grad = torch.ones(2)
    optimizer.step()
    before = copy.deepcopy(optimizer.state_dict())
    surgeon.reset(
        [
            Edit(name="w", mask=FIRST, value=0.0, fresh=False),
            Edit(name="w", mask=FIRST, value=0.0, is_parameter=False),
            Edit(name="elsewhere", mask=FIRST, value=0.0),
        ]
    )
    assert surgeon.state_dict()["young"] == {}
    after = optimizer.state_dict()
    assert all(
        torch.equal(before["state"][0][key], after["state"][0][key]) for key in before["state"][0]
    )


def test_before_the_first_step_there_is_nothing_to_forget() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = optim.NAdam([weight])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    surgeon.reset([Edit(name="w", mask=FIRST, value=0.0)])
    assert surgeon.state_dict()["young"] == {}
    assert not optimizer.state


FORGET: dict[str, tuple[Make, int]] = {
    "SGD": (_dampened, 1),
    "Adam": (lambda p: optim.Adam(p, betas=(0.5, 0.5)), 30),
    "NAdam": (lambda p: optim.NAdam(p, betas=(0.5, 0.5), momentum_decay=10.0), 51),
    "RAdam": (lambda p: optim.RAdam(p, betas=(0.5, 0.5)), 48),
    "Adamax": (lambda p: optim.Adamax(p, betas=(0.5, 0.999)), 30),
    "Rprop": (optim.Rprop, 1),
    "Adagrad": (lambda p: optim.Adagrad(p, lr_decay=0.1), 10_000),
    "ASGD": (optim.ASGD, 10_000),
}


@pytest.mark.parametrize("name", FORGET)
def test_ages_are_forgotten_when_they_no_longer_matter(name: str) -> None:
    make, horizon = FORGET[name]
    weight = nn.Parameter(torch.ones(2))
    optimizer = make([weight])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    kept = []
    for step in range(70):
        weight.grad = torch.ones(2)
        surgeon.before_step()
        optimizer.step()
        surgeon.after_step()
        kept.append(bool(surgeon.state_dict()["young"]))
        if step == 3:
            surgeon.reset([Edit(name="w", mask=FIRST, value=0.0)])
    assert kept == [3 < step < 3 + horizon for step in range(70)]


MEMORYLESS: dict[str, Make] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Adagrad": optim.Adagrad,
    "Adadelta": optim.Adadelta,
    "RMSprop": lambda p: optim.RMSprop(p, centered=True, momentum=0.9),
}


@pytest.mark.parametrize("name", MEMORYLESS)
def test_nothing_is_kept_where_nothing_knows_the_time(name: str) -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = MEMORYLESS[name]([weight])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    weight.grad = torch.ones(2)
    optimizer.step()
    surgeon.reset([Edit(name="w", mask=FIRST, value=0.0)])
    assert surgeon.state_dict()["young"] == {}
    assert not surgeon.needs_pre_step
    memories = [v for v in optimizer.state[weight].values() if v.shape == weight.shape]
    assert memories
    assert all(memory[0] == 0 and memory[1] != 0 for memory in memories)


def test_masks_along_different_axes_share_what_is_kept() -> None:
    weight = nn.Parameter(torch.ones(3, 2))
    optimizer = optim.Adam([weight])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    rows, columns = torch.tensor([[True], [False], [False]]), torch.tensor([[False, True]])
    for step in range(10):
        weight.grad = torch.ones(3, 2)
        optimizer.step()
        surgeon.after_step()
        if step == 4:
            surgeon.reset([Edit(name="w", mask=rows, value=0.0)])
            assert surgeon.state_dict()["young"]["w"]["born"].shape == (3, 1)
        if step == 7:
            surgeon.reset([Edit(name="w", mask=columns, value=0.0)])
    assert surgeon.state_dict()["young"]["w"]["born"].tolist() == [[5, 8], [-1, 8], [-1, 8]]


def test_who_has_grown_up_is_left_to_the_optimizer() -> None:
    """Though its neighbour is still young: from then on the optimizer's own bits stand."""
    weight = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = optim.Adam([weight], betas=(0.5, 0.5))  # grown up at 30
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    corrected = []
    for step in range(60):
        weight.grad = torch.randn(
            2, dtype=torch.float64, generator=torch.Generator().manual_seed(step)
        )
        optimizer.step()
        made = weight.detach().clone()
        surgeon.after_step()
        corrected.append((made != weight.detach()).tolist())
        if step in {3, 20}:
            mask = FIRST if step == 3 else ~FIRST
            surgeon.reset([Edit(name="w", mask=mask, value=0.0)])
    assert all(first for first, _ in corrected[4:16])
    assert not any(first for first, _ in corrected[34:])
    assert all(second for _, second in corrected[21:33])


@pytest.mark.parametrize("kind", ["SGD", "NAdam", "Adagrad", "ASGD", "Adam"])
@pytest.mark.parametrize(
    "mask", [torch.ones(1, 1), torch.tensor([0.0, 1.0, 1.0]), torch.ones(2, 3)]
)
def test_masks_of_few_axes_and_whole_tensors(kind: str, mask: Tensor) -> None:
    make: Make = {
        "SGD": _dampened,
        "NAdam": lambda p: optim.NAdam(p, lr=0.01, weight_decay=0.1),
        "Adam": lambda p: optim.Adam(p, lr=0.01),
        "Adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1),
        "ASGD": lambda p: optim.ASGD(p, lr=0.1, lambd=0.1, t0=3),
    }[kind]

    def run(first: int) -> tuple[Tensor, Optimizer]:
        weight = nn.Parameter(torch.full((2, 3), 0.5, dtype=torch.float64))
        optimizer = make([weight])
        surgeon = OptimizerSurgeon(optimizer, {"w": weight})
        for step in range(first, 40):
            noise = torch.randn(2, 3, generator=torch.Generator().manual_seed(step))
            weight.grad = noise.double() + 0.5 * weight.detach()
            surgeon.before_step()
            optimizer.step()
            surgeon.after_step()
            if step == 9 and first == 0:
                _renew(weight, surgeon, mask.bool(), 0.5)
        return weight.detach(), optimizer

    (found, optimizer), (fresh, other) = run(0), run(10)
    where = mask.bool().expand(2, 3)
    torch.testing.assert_close(found[where], fresh[where], rtol=1e-13, atol=1e-13)
    for mine, theirs in zip(optimizer.state.values(), other.state.values(), strict=True):
        for key, value in theirs.items():
            if value.shape == (2, 3):
                torch.testing.assert_close(mine[key][where], value[where], rtol=1e-13, atol=1e-13)


def test_who_shares_a_surgeon() -> None:
    weight, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = optim.Adam([weight, other])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    assert surgeon.has_same_parameters(OptimizerSurgeon(optimizer, {"w": weight}))
    assert not surgeon.has_same_parameters(OptimizerSurgeon(optimizer, {"w": other}))
    assert not surgeon.has_same_parameters(OptimizerSurgeon(optim.Adam([weight]), {"w": weight}))
    zero = OptimizerSurgeon(optimizer, {"w": weight}, reset_state="zero")
    assert not surgeon.has_same_parameters(zero)


def _young(kind: type[Optimizer] = optim.Adam) -> tuple[nn.Parameter, Optimizer, OptimizerSurgeon]:
    weight = nn.Parameter(torch.ones(2))
    optimizer = kind([weight])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    weight.grad = torch.ones(2)
    optimizer.step()
    surgeon.reset([Edit(name="w", mask=FIRST, value=0.0)])
    return weight, optimizer, surgeon


def test_states_that_do_not_belong_here() -> None:
    _, _, surgeon = _young()
    good = surgeon.state_dict()
    memory = good["young"]["w"]
    for bad, message in (
        ({"young": {}}, "surgeon lacks family"),
        ({**good, "family": "SGD"}, "family 'SGD', this one is 'Adam'"),
        ({**good, "young": {"v": memory}}, "not watched here: v"),
        ({**good, "young": {"w": {"born": memory["born"]}}}, "of 'w' lacks seen, waited"),
        (
            {**good, "young": {"w": {**memory, "born": torch.zeros(3)}}},
            r"shape \(3,\), the parameter",
        ),
    ):
        with pytest.raises(StateError, match=message):
            surgeon.load_state_dict(bad)
        assert surgeon.state_dict() == good
    surgeon.load_state_dict({"family": "Adam", "young": {}})
    assert surgeon.state_dict()["young"] == {}


def test_a_parameter_that_has_left_is_named() -> None:
    _, optimizer, surgeon = _young()
    optimizer.param_groups[0]["params"] = []
    with pytest.raises(OptimizerError, match="'w' was in the Adam at attach, and no longer is"):
        surgeon.after_step()


def test_complex_parameters_are_refused_when_they_are_renewed() -> None:
    weight = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    optimizer = optim.Adam([weight])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    with pytest.raises(OptimizerError, match=r"'w' is complex.*exclude="):
        surgeon.reset([Edit(name="w", mask=FIRST, value=0.0)])


def test_saved_states_do_not_change_while_training_goes_on() -> None:
    weight, optimizer, surgeon = _young(optim.NAdam)
    state = surgeon.state_dict()
    before = copy.deepcopy(state)
    for _ in range(3):
        weight.grad = torch.ones(2)
        surgeon.before_step()
        optimizer.step()
        surgeon.after_step()
    saved, kept = before["young"]["w"], state["young"]["w"]
    assert all(torch.equal(saved[key], kept[key]) for key in saved)
