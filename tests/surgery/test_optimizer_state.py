"""What the surgeon keeps of renewed entries, for how long, and what it refuses."""

import copy
from collections.abc import Callable
from typing import Any

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
            assert surgeon.state_dict()["young"]["w"]["rows"].shape == (3, 1)
        if step == 7:
            surgeon.reset([Edit(name="w", mask=columns, value=0.0)])
    kept = surgeon.state_dict()["young"]["w"]
    born = kept["births"][torch.maximum(kept["rows"], kept["columns"])]
    assert born.tolist() == [[5, 8], [0, 8], [0, 8]]


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


def test_two_surgeons_on_one_optimizer_correct_once_whatever_the_names() -> None:
    """As one does; both see the young entries, each under its own names."""
    results = []
    for apart in (False, True):
        weight = nn.Parameter(torch.ones(2))
        optimizer = optim.NAdam([weight])
        one = OptimizerSurgeon(optimizer, {"body.w": weight})
        other = OptimizerSurgeon(optimizer, {"w": weight}, other=one) if apart else one
        for step in range(20):
            weight.grad = torch.ones(2)
            for surgeon in (one, other):
                surgeon.before_step()
            optimizer.step()
            for surgeon in (one, other):
                surgeon.after_step()
            if step == 5:
                one.reset([Edit(name="body.w", mask=FIRST, value=0.0)])
            if step == 9:
                name = "w" if apart else "body.w"
                other.reset([Edit(name=name, mask=~FIRST, value=0.0)])
        results.append(weight.detach())
        young = other.state_dict()["young"]
        assert list(young) == ["w" if apart else "body.w"]
        kept = next(iter(young.values()))
        assert kept["births"][kept["rows"]].tolist() == [6, 10]
        assert list(one.state_dict()["young"]) == ["body.w"]
    assert torch.equal(*results)
    with pytest.raises(ValueError, match="one optimizer only"):
        OptimizerSurgeon(optim.Adam([weight]), {"w": weight}, other=one)


def test_what_another_surgeon_alone_knows_survives_loading() -> None:
    weights = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = optim.Adam(weights)
    one = OptimizerSurgeon(optimizer, {"a": weights[0]})
    other = OptimizerSurgeon(optimizer, {"b": weights[1]}, other=one)
    for weight in weights:
        weight.grad = torch.ones(2)
    optimizer.step()
    one.reset([Edit(name="a", mask=FIRST, value=0.0)])
    other.reset([Edit(name="b", mask=FIRST, value=0.0)])
    one.load_state_dict({"family": "Adam", "young": {}})
    assert one.state_dict()["young"] == {}
    assert list(other.state_dict()["young"]) == ["b"]


def test_parameters_that_come_later_are_known_and_those_of_others_are_not_touched() -> None:
    weight, late, foreign = (nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizer, second = optim.Adam([weight]), optim.Adam([foreign])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight, "late": late, "foreign": foreign})
    optimizer.add_param_group({"params": [late]})
    for each in (weight, late, foreign):
        each.grad = torch.ones(2)
    optimizer.step()
    second.step()
    before = copy.deepcopy(second.state_dict()["state"][0])
    surgeon.reset([Edit(name=name, mask=FIRST, value=0.0) for name in ("late", "foreign")])
    assert optimizer.state[late]["exp_avg"].count_nonzero() == 1
    assert list(surgeon.state_dict()["young"]) == ["late"]
    assert all(torch.equal(before[key], second.state[foreign][key]) for key in before)
    assert foreign not in optimizer.state


def test_check_raises_what_reset_would_and_writes_nothing() -> None:
    fine, odd = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2, dtype=torch.complex64))
    optimizer = optim.Adam([fine, odd])
    surgeon = OptimizerSurgeon(optimizer, {"fine": fine, "odd": odd})
    for weight in (fine, odd):
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    before = copy.deepcopy(optimizer.state_dict()["state"])
    edits = [Edit(name=name, mask=FIRST, value=0.0) for name in ("fine", "odd")]
    surgeon.check(edits[:1])
    for refuse in (surgeon.check, surgeon.reset):
        with pytest.raises(OptimizerError, match="'odd' is complex"):
            refuse(edits)
    after = optimizer.state_dict()["state"]
    assert all(torch.equal(after[i][key], before[i][key]) for i in after for key in after[i])
    assert surgeon.state_dict()["young"] == {}


@pytest.mark.parametrize("kind", [optim.Adam, optim.NAdam])
def test_a_cleared_optimizer_begins_anew_with_all_entries(kind: type[Optimizer]) -> None:
    weight, optimizer, surgeon = _young(kind)
    twin = nn.Parameter(weight.detach().clone())
    fresh = kind([twin])
    optimizer.state.clear()
    for _ in range(5):
        weight.grad, twin.grad = torch.ones(2), torch.ones(2)
        surgeon.before_step()
        optimizer.step()
        surgeon.after_step()
        fresh.step()
    assert torch.equal(weight, twin)
    assert surgeon.state_dict()["young"] == {}


def _young(kind: type[Optimizer] = optim.Adam) -> tuple[nn.Parameter, Optimizer, OptimizerSurgeon]:
    weight = nn.Parameter(torch.ones(2))
    optimizer = kind([weight])
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    weight.grad = torch.ones(2)
    optimizer.step()
    surgeon.reset([Edit(name="w", mask=FIRST, value=0.0)])
    return weight, optimizer, surgeon


def _bad_states(good: dict[str, Any]) -> list[tuple[object, str]]:
    memory = good["young"]["w"]

    def young(**changed: object) -> dict[str, Any]:
        return {**good, "young": {"w": {**memory, **changed}}}

    return [
        (None, "the optimizer surgeon must be a dict, got NoneType"),
        ([], "the optimizer surgeon must be a dict, got list"),
        ({"young": {}}, "surgeon lacks family"),
        ({**good, "family": "SGD"}, "family 'SGD', this one is 'NAdam'"),
        ({**good, "young": []}, "young entries must be a dict, got list"),
        ({**good, "young": {"w": 3}}, "of 'w' must be a dict, got int"),
        ({**good, "young": {"v": memory}}, "not in this NAdam: v"),
        ({**good, "young": {"foreign": memory}}, "not in this NAdam: foreign"),
        (
            {**good, "young": {"w": {"births": memory["births"]}}},
            "'w' lacks mu_product, seen, waited",
        ),
        ({**good, "young": {"w": {}}}, "'w' lacks births, mu_product, seen, waited"),
        (young(born=torch.zeros(3)), r"has born of shape \(3,\), the parameter is of \(2,\)"),
        (young(rows=memory["rows"][:1].repeat(3)), r"has rows of shape \(3,\), the parameter is"),
        (young(rows=memory["rows"] + 1), "'w' has rows that are no numbers of its 2 births"),
        (young(rows=memory["rows"].float()), "'w' has rows that are no numbers of its 2 births"),
        (young(births=memory["births"][None]), r"has births of shape \(1, 2\)"),
        (young(mu_product=torch.zeros(1)), r"has mu_product of shape \(1,\)"),
        (young(seen=torch.zeros(2)), r"has seen of shape \(2,\)"),
        (young(waited=3), "must hold tensors, and its waited is a int"),
    ]


def test_states_that_do_not_belong_here() -> None:
    weight, optimizer, _ = _young(optim.NAdam)
    foreign = nn.Parameter(torch.ones(2))
    surgeon = OptimizerSurgeon(optimizer, {"w": weight, "foreign": foreign})
    surgeon.reset([Edit(name="w", mask=FIRST, value=0.0)])
    good = surgeon.state_dict()
    surgeon.check_state(good)
    for bad, message in _bad_states(good):
        for refuse in (surgeon.check_state, surgeon.load_state_dict):
            with pytest.raises(StateError, match=message):
                refuse(bad)  # type: ignore[arg-type]
        assert surgeon.state_dict() == good
    surgeon.check_state({"family": "NAdam", "young": {}})
    assert surgeon.state_dict() == good
    surgeon.load_state_dict({"family": "NAdam", "young": {}})
    assert surgeon.state_dict()["young"] == {}


@pytest.mark.parametrize("make", [optim.Adam, _dampened])
def test_a_state_without_the_optimizers_own_is_refused(make: Make) -> None:
    _, optimizer, surgeon = _young(make)  # type: ignore[arg-type]
    saved = surgeon.state_dict()
    assert saved["young"]
    again = nn.Parameter(torch.ones(2))
    fresh = make([again])
    other = OptimizerSurgeon(fresh, {"w": again})
    with pytest.raises(StateError, match=r"'w' has renewed.*no state of it: load the optimizer's"):
        other.load_state_dict(saved)
    fresh.load_state_dict(optimizer.state_dict())
    other.load_state_dict(saved)
    assert list(other.state_dict()["young"]) == ["w"]


def test_a_parameter_that_has_left_waits_for_its_return() -> None:
    """Nobody steps it meanwhile; back in the optimizer, its young entries are as old as they were."""
    ends: list[torch.Tensor] = []
    for leaves in (False, True):
        weight, optimizer, surgeon = _young()
        if leaves:
            optimizer.param_groups[0]["params"] = []
            surgeon.before_step()
            surgeon.after_step()
            assert (
                surgeon.state_dict()["young"] == {}
            )  # the optimizer's own state cannot hold it either
            with pytest.raises(OptimizerError, match="'w' was in the Adam, and no longer is"):
                surgeon.check([Edit(name="w", mask=FIRST, value=0.0)])
            optimizer.param_groups[0]["params"] = [weight]
        for _ in range(3):
            weight.grad = torch.ones(2)
            surgeon.before_step()
            optimizer.step()
            surgeon.after_step()
        ends.append(weight.detach().clone())
    assert torch.equal(*ends)


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
