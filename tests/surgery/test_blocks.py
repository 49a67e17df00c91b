"""Young rows and columns of large tensors: worked on in blocks, with the bits of one by one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from crossed import crossed, seldom
from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon, apply_edits_, blocks
from regrow.surgery.optimizers import MomentFamily, family_of
from surgery.rows import ROWS
from surgery.split import SHAPE, begin, furthest, oracle, same_bits, train

OF_MOMENTS = seldom(
    [
        name
        for name, row in ROWS.items()
        if isinstance(family_of(row.make([nn.Parameter(torch.ones(1))])), MomentFamily)
    ],
    often=("Adam amsgrad", "AdamW fused", "RAdam decoupled foreach", "Adamax decay"),
)
SHAPES = {"conv": (12, 5, 3, 3), "1x1": (9, 14, 1, 1), "linear": (11, 17), "bias": (64,)}


def _axis(shape: tuple[int, ...], axis: int, chosen: Tensor) -> Tensor:
    return chosen.reshape([-1 if each == axis else 1 for each in range(len(shape))])


def _births(shape: tuple[int, ...], share: float, step: int) -> list[Tensor]:
    """What is renewed after a step: some rows or some columns, by turns; both in the last of them."""
    generator = torch.Generator().manual_seed(step)
    axes = {3: [0], 5: [1], 8: [0], 9: [1], 12: [0, 1]}.get(step, [])
    return [
        _axis(shape, axis, torch.rand(shape[axis], generator=generator) < share)
        for axis in axes
        if axis < len(shape)
    ]


def _train(
    shape: tuple[int, ...], share: float, *, dtype: torch.dtype, last: bool, **options: Any
) -> tuple[Tensor, Tensor]:
    """The values after 30 steps, and where nothing was renewed."""
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(shape, generator=generator).to(dtype))
    if last and weight.dim() == 4:
        weight = nn.Parameter(weight.detach().to(memory_format=torch.channels_last))
    optimizer = optim.AdamW([weight], lr=0.01, weight_decay=0.1, **options)
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    never = torch.ones(shape, dtype=torch.bool)
    for step in range(30):
        noise = torch.randn(shape, generator=generator).to(dtype)
        weight.grad = torch.empty_like(weight).copy_(noise + 0.5 * weight.detach())
        optimizer.step()
        surgeon.after_step()
        masks = _births(shape, share, step)
        edits = [Edit(name="w", mask=mask, value=0.25) for mask in masks if bool(mask.any())]
        apply_edits_({"w": weight}, edits)
        surgeon.reset(edits)
        for mask in masks:
            never &= ~mask
    return weight.detach().contiguous(), never


@pytest.mark.parametrize(("apart", "name"), crossed([True, False], OF_MOMENTS))
def test_float64_as_if_every_unit_were_alone(
    name: str, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle of all optimizers, with every tensor in blocks of one row or two."""
    row, seen = ROWS[name], []
    monkeypatch.setattr(blocks, "LEAST", 1)
    monkeypatch.setattr(blocks, "_BLOCK", 2 * SHAPE[1])
    monkeypatch.setattr(blocks, "_WHOLE", 1e9 if apart else 0.0)
    work = blocks.settle_in_blocks

    def counted(*args: Any, **options: Any) -> None:
        seen.append(options["grid"].apart)
        work(*args, **options)

    monkeypatch.setattr("regrow.surgery.correction.settle_in_blocks", counted)
    distances = furthest(train(begin(row, torch.float64), row).values(), oracle(row))
    assert max(distances.values()) < row.tight, distances
    assert len(seen) > 40  # before one entry is renewed alone
    assert set(seen) == {apart}


@pytest.mark.parametrize(
    ("dtype", "last", "share", "name"),
    crossed([torch.float32, torch.float64], [False, True], [0.15, 0.5, 1.0], SHAPES),
)
def test_in_blocks_is_one_by_one(
    name: str, share: float, last: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the young entries are come by, the same bits: together, as copies, and all of the tensor."""
    monkeypatch.setattr(blocks, "_BLOCK", 100)
    results: list[Tensor] = []
    for least, whole in ((10**9, 0.0), (1, 1e9), (1, 0.0)):
        monkeypatch.setattr(blocks, "LEAST", least)
        monkeypatch.setattr(blocks, "_WHOLE", whole)
        found, _ = _train(SHAPES[name], share, dtype=dtype, last=last, amsgrad=share == 0.5)
        results.append(found)
    assert same_bits(results[0], results[1])
    assert same_bits(results[0], results[2])


@pytest.mark.parametrize("whole", [1e9, 0.0], ids=["copies", "whole"])
def test_neighbours_keep_their_bits_even_those_of_zero(
    whole: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-0.0 + 0.0 is 0.0: what nobody has renewed must be left alone, also where its memory is no number."""
    monkeypatch.setattr(blocks, "LEAST", 1)
    monkeypatch.setattr(blocks, "_WHOLE", whole)
    monkeypatch.setattr(blocks, "_BLOCK", 40)
    weight = nn.Parameter(torch.ones(8, 5, 3, 3))
    optimizer = optim.Adam([weight], lr=0.01)
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    row, column = (
        _axis((8, 5, 3, 3), 0, torch.arange(8) == 2),
        _axis((8, 5, 3, 3), 1, torch.arange(5) == 3),
    )
    surgeon.reset([Edit(name="w", mask=row, value=0.0)])
    optimizer.step()
    surgeon.after_step()
    surgeon.reset([Edit(name="w", mask=column, value=0.0)])
    odd = torch.tensor([-0.0, 0.0, torch.nan, torch.inf, -torch.inf, 1e-45, 3.0, -0.0])
    with torch.no_grad():
        weight.copy_(odd[torch.arange(weight.numel()) % 8].reshape(weight.shape))
        moments = torch.tensor([1.0, -1.0, torch.nan, 0.0, torch.inf, -0.0, 2.0])
        optimizer.state[weight]["exp_avg"].copy_(
            moments[torch.arange(weight.numel()) % 7].reshape(weight.shape)
        )
        optimizer.state[weight]["step"] += 1
    before = weight.detach().clone()
    surgeon.after_step()
    never = ~(row | column).expand_as(weight)
    assert same_bits(weight.detach()[never], before[never])
    assert not same_bits(weight.detach(), before)


def test_where_rows_and_columns_meet_the_later_birth_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ages of four entries, found by what Adam's first moments would be multiplied by: in float64, by hand."""
    monkeypatch.setattr(blocks, "LEAST", 1)
    weight = nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
    optimizer = optim.Adam([weight], lr=1.0, eps=0.0, betas=(0.5, 0.75))
    surgeon = OptimizerSurgeon(optimizer, {"w": weight})

    def step() -> None:
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        surgeon.after_step()

    def renew(mask: Tensor) -> None:
        surgeon.reset([Edit(name="w", mask=mask, value=0.0)])

    first_row = torch.tensor([[True], [False]])
    first_column = torch.tensor([[True, False]])
    for mask in (first_column, first_row, None):
        step()
        if mask is not None:
            renew(mask)
    # After the renewals only ages are known; the memory is set, so that a step's length tells the age.
    step()
    with torch.no_grad():
        weight.zero_()
        state = optimizer.state[weight]
        state["exp_avg"].fill_(1.0)
        state["exp_avg_sq"].fill_(1.0)
        state["step"] += 1
        taken = -((1 - 0.75**5) ** 0.5) / (1 - 0.5**5)
        weight.fill_(taken)
    surgeon.after_step()
    ages = torch.tensor([[3.0, 3.0], [4.0, 5.0]], dtype=torch.float64)
    wanted = -((1 - 0.75**ages) ** 0.5) / (1 - 0.5**ages)
    torch.testing.assert_close(weight.detach(), wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("kind", "options"),
    crossed(
        [optim.Adam, optim.AdamW, optim.RAdam, optim.Adamax],
        [{"foreach": False}, {"foreach": True}, {"fused": True}],
    ),
)
def test_a_tensor_that_is_renewed_at_once_counts_its_own_updates(
    kind: type[optim.Optimizer], options: dict[str, bool]
) -> None:
    """Rows and columns in three edits: nobody is old, and the optimizer's own steps are those of a fresh tensor."""
    if "fused" in options and kind in {optim.RAdam, optim.Adamax}:
        options = {}
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, 6, generator=generator)
    weight, beside = nn.Parameter(torch.ones(4, 6)), nn.Parameter(torch.ones(4))
    optimizer = kind([weight, beside], lr=0.01, **options)  # type: ignore[call-arg]
    surgeon = OptimizerSurgeon(optimizer, {"w": weight, "b": beside})
    for _ in range(9):
        weight.grad, beside.grad = torch.ones_like(weight), torch.ones_like(beside)
        optimizer.step()
        surgeon.after_step()
    rows, columns = torch.arange(4)[:, None] < 2, torch.arange(6)[None, :] >= 0
    edits = [Edit(name="w", mask=mask, value=start) for mask in (rows, columns, rows)]
    apply_edits_({"w": weight}, edits)
    surgeon.reset(edits)
    assert surgeon.state_dict()["young"] == {}
    assert optimizer.state[beside]["step"].item() == 9
    twin = nn.Parameter(start.clone())
    fresh = kind([twin], lr=0.01, **options)  # type: ignore[call-arg]
    for _ in range(12):
        grad = torch.randn(4, 6, generator=generator)
        weight.grad, twin.grad = grad.clone(), grad.clone()
        optimizer.step()
        surgeon.after_step()
        fresh.step()
    assert same_bits(weight.detach(), twin.detach())


def test_who_is_young_in_a_tensor_without_old_entries_keeps_its_age() -> None:
    """All rows at one step, then one column: the tensor counts from the first, the column from the second."""
    results: list[Tensor] = []
    for split in (False, True):
        generator = torch.Generator().manual_seed(0)
        parts = [nn.Parameter(torch.ones(4, 3, dtype=torch.float64)) for _ in range(1 + split)]
        optimizers = [optim.Adam([part], lr=0.01) for part in parts]
        surgeon = OptimizerSurgeon(optimizers[0], {"w": parts[0]})
        for step in range(40):
            grad = torch.randn(4, 3, dtype=torch.float64, generator=generator)
            for part, optimizer in zip(parts, optimizers, strict=True):
                part.grad = grad.clone()
                optimizer.step()
            surgeon.after_step()
            if step == 9:
                edits = [Edit(name="w", mask=torch.ones(1, 1).bool(), value=0.5)]
                apply_edits_({"w": parts[0]}, edits)
                surgeon.reset(edits)
            if step == 14 and split:
                parts[1] = nn.Parameter(torch.full((4, 3), 0.25, dtype=torch.float64))
                optimizers[1] = optim.Adam(parts[1:], lr=0.01)
            elif step == 14:
                edits = [Edit(name="w", mask=torch.arange(3)[None, :] == 1, value=0.25)]
                apply_edits_({"w": parts[0]}, edits)
                surgeon.reset(edits)
        if split:
            whole = torch.cat([parts[0][:, :1], parts[1][:, 1:2], parts[0][:, 2:]], dim=1)
            results.append(whole.detach())
        else:
            assert optimizers[0].state[parts[0]]["step"].item() == 30
            results.append(parts[0].detach())
    torch.testing.assert_close(results[0], results[1], rtol=1e-13, atol=1e-13)


def test_a_memory_that_lies_otherwise_is_worked_on_entry_by_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after loading a state that was saved with channels first, into a model with channels last."""
    results: list[Tensor] = []
    for least in (1, 10**9):
        monkeypatch.setattr(blocks, "LEAST", least)
        weight = nn.Parameter(torch.ones(6, 4, 3, 3).to(memory_format=torch.channels_last))
        optimizer = optim.Adam([weight], lr=0.01)
        surgeon = OptimizerSurgeon(optimizer, {"w": weight})
        generator = torch.Generator().manual_seed(0)
        for step in range(12):
            weight.grad = torch.randn(6, 4, 3, 3, generator=generator)
            optimizer.step()
            surgeon.after_step()
            if step == 3:
                surgeon.reset(
                    [Edit(name="w", mask=_axis((6, 4, 1, 1), 0, torch.arange(6) < 2), value=0)]
                )
            if step == 6:
                state = optimizer.state[weight]
                state["exp_avg"] = state["exp_avg"].contiguous()
        results.append(weight.detach().contiguous())
    assert same_bits(*results)
