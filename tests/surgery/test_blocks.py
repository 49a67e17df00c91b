"""Young rows and columns of large tensors: worked on in blocks, with the bits of one by one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon, apply_edits_, blocks
from regrow.surgery.optimizers import MomentFamily, family_of
from surgery.rows import ROWS
from surgery.split import SHAPE, begin, furthest, oracle, same_bits, train

OF_MOMENTS = [
    pytest.param(name, marks=pytest.mark.slow if row.slow else ())
    for name, row in ROWS.items()
    if isinstance(family_of(row.make([nn.Parameter(torch.ones(1))])), MomentFamily)
]
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


@pytest.mark.parametrize("name", OF_MOMENTS)
@pytest.mark.parametrize("apart", [True, False])
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
