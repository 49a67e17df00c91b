"""The young entries of many tensors made right together: the same bits as one by one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from crossed import crossed, seldom
from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon, apply_edits_, correction
from regrow.surgery.bundle import settle_together
from surgery.split import same_bits

SHAPES = ((5, 3, 3, 3), (5,), (7, 5, 1, 1), (2, 7), (7,))
Groups = list[dict[str, Any]]

KINDS: dict[str, Callable[[Groups], Optimizer]] = {
    "Adam": lambda groups: optim.Adam(groups, lr=0.01),
    "amsgrad": lambda groups: optim.Adam(groups, lr=0.01, amsgrad=True),
    "AdamW fused": lambda groups: optim.AdamW(groups, lr=0.01, fused=True),
    "RAdam": lambda groups: optim.RAdam(groups, lr=0.01, weight_decay=0.1),
    "Adamax": lambda groups: optim.Adamax(groups, lr=0.01),
}


def _one_by_one(members: list[Any], table: Any, **options: Any) -> None:
    for member in members:
        settle_together([member], table, **options)


def _masks(step: int, shape: tuple[int, ...]) -> Tensor:
    """A filter, then an input channel, so that births along two axes meet in one tensor; then another filter.

    A convolution of single positions has single entries instead of a channel, which no row and no column says.
    """
    if step == 11 and shape[2:] == (1, 1):
        return torch.eye(*shape[:2], dtype=torch.bool)[..., None, None]
    axis = 1 if step == 11 and len(shape) > 1 else 0
    index = torch.arange(shape[axis]) == (1 if step == 6 else 0)
    return index.reshape([-1 if each == axis else 1 for each in range(len(shape))])


def _train(make: Callable[[Groups], Optimizer], dtypes: list[torch.dtype]) -> list[Tensor]:
    """Two groups with options of their own; one tensor without gradient at times, so that counts differ.

    At last somebody is born in the first tensor of each group alone: there are more births in front of the others'.
    """
    generator = torch.Generator().manual_seed(0)
    weights = [
        nn.Parameter(torch.randn(shape, generator=generator).to(dtypes[index % len(dtypes)]))
        for index, shape in enumerate(SHAPES)
    ]
    first: dict[str, Any] = {"params": weights[:3]}
    second: dict[str, Any] = {"params": weights[3:], "lr": 0.1, "betas": (0.5, 0.9)}
    optimizer = make([first, second])
    named = {str(index): weight for index, weight in enumerate(weights)}
    surgeon = OptimizerSurgeon(optimizer, named)
    for step in range(40):
        for index, weight in enumerate(weights):
            grad = torch.randn(weight.shape, generator=generator).to(weight.dtype)
            weight.grad = None if index == 2 and step % 3 == 0 else grad
        optimizer.step()
        surgeon.after_step()
        if step in {6, 11, 17}:
            edits = [
                Edit(name=name, mask=_masks(step, tuple(weight.shape)), value=0.25)
                for name, weight in named.items()
                if step < 17 or name in {"0", "3"}
            ]
            apply_edits_(named, edits)
            surgeon.reset(edits)
    assert set(surgeon.state_dict()["young"]) >= {"0", "1", "2"}
    return [weight.detach() for weight in weights]


@pytest.mark.parametrize(
    ("dtypes", "name"),
    crossed(
        [[torch.float32, torch.float64, torch.bfloat16], [torch.float64], [torch.float32]],
        seldom(KINDS, often=list(KINDS)[::2]),
    ),
)
def test_together_is_one_by_one(
    name: str, dtypes: list[torch.dtype], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "AdamW fused" and torch.bfloat16 in dtypes:
        dtypes = dtypes[:2]  # no fused bfloat16 state beside others on the CPU
    sizes: list[int] = []

    def counted(members: list[Any], table: Any, **options: Any) -> None:
        sizes.append(len(members))
        settle_together(members, table, **options)

    in_a_row = _train(KINDS[name], dtypes)  # as nearly all are on a CPU
    monkeypatch.setattr("regrow.surgery.young.grid_of", lambda *_: None)
    monkeypatch.setattr(correction, "settle_together", counted)
    together = _train(KINDS[name], dtypes)
    assert max(sizes) >= (2 if len(dtypes) == 1 else 1)
    monkeypatch.setattr(correction, "settle_together", _one_by_one)
    alone = _train(KINDS[name], dtypes)
    for *found, wanted in zip(together, in_a_row, alone, strict=True):
        for each in found:
            if each.dtype is torch.bfloat16:
                assert torch.equal(each, wanted)
            else:
                assert same_bits(each, wanted)


def test_a_maximum_that_only_some_have_is_left_out() -> None:
    """amsgrad was on for a while: those that were stepped then have a maximum, and nobody uses it."""
    weights = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = optim.Adam(weights, amsgrad=True)
    surgeon = OptimizerSurgeon(optimizer, {"0": weights[0], "1": weights[1]})
    weights[0].grad = torch.ones(2)
    optimizer.step()
    optimizer.param_groups[0]["amsgrad"] = False
    for _ in range(3):
        for weight in weights:
            weight.grad = torch.ones(2)
        optimizer.step()
        surgeon.after_step()
        mask = torch.tensor([True, False])
        surgeon.reset([Edit(name=name, mask=mask, value=0.0) for name in ("0", "1")])
    assert "max_exp_avg_sq" in optimizer.state[weights[0]]
    assert "max_exp_avg_sq" not in optimizer.state[weights[1]]
    assert set(surgeon.state_dict()["young"]) == {"0", "1"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", [{}, {"capturable": True}, {"fused": True}, {"foreach": True}])
def test_no_step_waits_for_the_gpu(options: dict[str, bool]) -> None:
    """The count of a step is in the host's memory, or on the GPU: neither is copied across."""
    weights = {
        str(i): nn.Parameter(torch.ones(shape, device="cuda")) for i, shape in enumerate(SHAPES)
    }
    optimizer = optim.Adam(weights.values(), **options)  # type: ignore[arg-type]
    surgeon = OptimizerSurgeon(optimizer, weights)
    for weight in weights.values():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    mask = {name: _masks(6, tuple(weight.shape)).cuda() for name, weight in weights.items()}
    surgeon.reset([Edit(name=name, mask=mask[name], value=0.0) for name in weights])
    optimizer.step()
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    torch.cuda.set_sync_debug_mode("error")
    try:
        surgeon.before_step()
        surgeon.after_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(not torch.equal(before[name], weights[name]) for name in weights)
