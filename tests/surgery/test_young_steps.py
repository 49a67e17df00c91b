"""A step beside young entries: what an idle one costs, and how an older saved state goes on."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim
from torch.utils._python_dispatch import TorchDispatchMode

from crossed import crossed, seldom
from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon, blocks
from regrow.surgery.optimizers import FAMILIES
from surgery.rows import ROWS
from surgery.split import begin, furthest, oracle, train


class Counted(TorchDispatchMode):
    """Names of the tensor operations."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("form", [{}, {"foreach": True}, {"fused": True}], ids=str)
def test_while_nobody_is_young_a_step_has_not_one_operation_more(
    kind: type[optim.Optimizer], form: dict[str, bool]
) -> None:
    """Never renewed, and renewed as a whole at once, so that the tensor counts its own updates."""
    if "fused" in form and kind not in {optim.Adam, optim.AdamW, optim.SGD, optim.Adagrad}:
        form = {}
    found: list[list[str]] = []
    for hooked, renewed in ((False, False), (True, False), (True, True)):
        weights = [nn.Parameter(torch.ones(70, 70)), nn.Parameter(torch.ones(3))]
        optimizer = kind(weights, lr=0.01, **form)  # type: ignore[call-arg]
        surgeon = OptimizerSurgeon(optimizer, {str(i): w for i, w in enumerate(weights)})
        if hooked:
            optimizer.register_step_pre_hook(lambda *_, s=surgeon: s.before_step())
            optimizer.register_step_post_hook(lambda *_, s=surgeon: s.after_step())
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        for step in range(3):
            if (
                renewed
                and step == 2
                and kind in {optim.Adam, optim.AdamW, optim.RAdam, optim.Adamax}
            ):
                mask = torch.ones(1, 1, dtype=torch.bool)
                surgeon.reset([_edit("0", mask), _edit("1", mask[0])])
            with Counted() as counted:
                optimizer.step()
        found.append(counted.operations)
    assert found[0]
    assert found[1] == found[0]
    if kind is not optim.RAdam:  # whose own warm-up has other operations
        assert found[2] == found[0]


def _edit(name: str, mask: Tensor) -> Any:

    return Edit(name=name, mask=mask, value=0.0)


def _as_before(state: dict[str, Any]) -> dict[str, Any]:
    """A saved state as regrow wrote it when births were kept entry by entry, by that version's words: the count of
    updates at each entry's birth, -1 where it is old, and beside it what the family keeps, of the same shape."""
    young: dict[str, dict[str, Tensor]] = {}
    for name, now in state["young"].items():
        parts = [now[key] for key in ("rows", "columns", "entries") if key in now]
        numbers = parts[0]
        for part in parts[1:]:
            numbers = torch.maximum(numbers, part)
        counts = now["births"].clone()
        counts[0] = -1
        young[name] = {"born": counts[numbers]}
        for key, value in now.items():
            if key in {"seen", "waited", "count"}:
                young[name][key] = value
            elif key not in {"births", "rows", "columns", "entries"}:
                young[name][key] = value[numbers]
    return {**state, "young": young}


@pytest.mark.parametrize(
    ("least", "name"),
    crossed(
        [1, 10**9],
        seldom(
            [
                "SGD dampening",
                "Adam",
                "AdamW fused",
                "NAdam decay",
                "Adagrad lr_decay",
                "ASGD falling",
            ],
            often=["SGD dampening", "ASGD falling"],
        ),
    ),
)
def test_a_state_saved_entry_by_entry_goes_on(
    name: str, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same oracle: saved in that form and loaded while entries of several births are young."""
    monkeypatch.setattr(blocks, "LEAST", least)
    row, forms = ROWS[name], []

    def each(step: int, live: Any) -> Any:
        if step in {13, 41, 70}:
            older = _as_before(live.surgeon.state_dict())
            forms.extend(set(one) for one in older["young"].values())
            again = OptimizerSurgeon(live.optimizer, {"w": live.weight})
            again.load_state_dict(older)
            live.surgeon = again
        return live

    distances = furthest(train(begin(row, torch.float64), row, each=each).values(), oracle(row))
    assert max(distances.values()) < row.tight, distances
    assert forms or name == "SGD dampening"
    assert all("born" in form and "births" not in form for form in forms)


@pytest.mark.parametrize("kind", [optim.Adam, optim.RAdam, optim.Adamax])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.9), (0.999, 0.6), (0.5, 0.5)])
def test_no_factor_grows_with_age(kind: type[optim.Optimizer], betas: tuple[float, float]) -> None:
    """What rows and columns are joined by: the larger factor is the later birth's."""
    optimizer = kind([nn.Parameter(torch.ones(1))], lr=0.01, betas=betas)  # type: ignore[call-arg]
    age = torch.cat([torch.arange(1.0, 3000.0), 10.0 ** torch.arange(4, 8)]).double()
    family: Any = FAMILIES[kind]
    for factor in family.factors(age, group=optimizer.param_groups[0]):
        rise = factor.diff()
        assert (rise <= 1e-15 * factor[:-1].abs()).all()
        assert factor.isfinite().all()
