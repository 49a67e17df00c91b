"""Every optimizer: a renewed unit trains as a parameter of its own would; its neighbours do not notice."""

import functools
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from crossed import seldom
from regrow.errors import OptimizerError
from regrow.surgery import OptimizerSurgeon
from surgery.foreign_rows import FOREIGN_ROWS
from surgery.rows import ROWS as TORCH_ROWS
from surgery.split import (
    NEVER,
    RENEWALS,
    SHAPE,
    STEPS,
    Live,
    begin,
    furthest,
    oracle,
    same_bits,
    train,
)

ROWS = {**TORCH_ROWS, **FOREIGN_ROWS}
ONE_OF_A_KIND = {row.kind: name for name, row in reversed(ROWS.items()) if not row.slow}.values()


RELATIVES = {
    *("timm AdamWLegacy", "timm RAdamLegacy", "timm NAdamLegacy", "timm NAdamW"),
    *("timm MADGRAD no momentum", "timm SGDW dampening", "timm RMSpropTF"),
}
"""Of others here: quick in one of the other tests alone."""


def _quick(names: Collection[str]) -> list[Any]:
    """All rows, slow but for these."""
    return [
        pytest.param(name, marks=[*row.marks(), *[pytest.mark.slow] * (name not in names)])
        for name, row in ROWS.items()
    ]


def _one_in_four(place: int, *more: str) -> list[Any]:
    """Of four tests, each class is quick in one."""
    return _quick([*list(ONE_OF_A_KIND)[place::4], *more])


UNMOVED = {"step_size", "max_exp_avg_sq", "max_exp_avg_var"}
"""What may come to the same bits again, by a bound or by a maximum."""


@functools.cache
def _oracle(name: str) -> dict[str, Tensor]:
    return oracle(ROWS[name])


@pytest.mark.parametrize("name", _quick([each for each in ONE_OF_A_KIND if each not in RELATIVES]))
def test_float64_as_if_every_unit_were_alone(name: str) -> None:
    row = ROWS[name]
    live = train(begin(row, torch.float64), row)
    distances = furthest(live.values(), _oracle(name))
    assert max(distances.values()) < row.tight, distances
    assert live.weight.shape == SHAPE


@pytest.mark.parametrize("name", _one_in_four(0))
def test_float32_within_its_rounding(name: str) -> None:
    row = ROWS[name]
    distances = furthest(train(begin(row, torch.float32), row).values(), _oracle(name))
    assert max(distances.values()) < row.loose, distances


@pytest.mark.parametrize("name", _one_in_four(1))
def test_neighbours_keep_their_bits(name: str) -> None:
    """Those of the parameter and of all that the optimizer remembers; what it has once for a tensor too."""
    row = ROWS[name]
    live, twin = begin(row, torch.float32), begin(row, torch.float32)
    train(live, row)
    train(twin, row, renew=False)
    found, wanted = live.values(), twin.values()
    for key, value in wanted.items():
        assert same_bits(found[key][NEVER], value[NEVER]), key
        assert not same_bits(found[key], value) or key in UNMOVED, key
    of_tensor = {
        key: (live.optimizer.state[live.weight][key], value)
        for key, value in twin.optimizer.state[twin.weight].items()
        if not isinstance(value, Tensor) or value.shape != SHAPE
    }
    for mine, others in of_tensor.values():
        assert torch.equal(mine, others) if isinstance(others, Tensor) else mine == others


@pytest.mark.parametrize("name", _one_in_four(2))
def test_saved_and_loaded_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Saved right after renewals, between them, and while entries are young."""
    row, file = ROWS[name], tmp_path / "state.pt"
    steps = range(70)

    def interrupted(step: int, live: Live) -> Live:
        if step not in {7, 8, 13, 40, 55}:
            return live
        saved = [live.weight.detach(), live.optimizer.state_dict(), live.surgeon.state_dict()]
        torch.save(saved, file)
        values, optimizer_state, surgeon_state = torch.load(file, weights_only=True)
        again = begin(row, torch.float32)
        with torch.no_grad():
            again.weight.copy_(values)
        again.optimizer.load_state_dict(optimizer_state)
        again.surgeon.load_state_dict(surgeon_state)
        return again

    whole = train(begin(row, torch.float32), row, steps=steps).values()
    parts = train(begin(row, torch.float32), row, steps=steps, each=interrupted).values()
    assert whole.keys() == parts.keys()
    assert all(same_bits(whole[key], parts[key]) for key in whole)


@pytest.mark.parametrize("name", _one_in_four(3, "NAdam decay"))
def test_without_hooks(name: str) -> None:
    """Both calls after the step: right where that can be, an error where it cannot."""
    row = ROWS[name]
    live = begin(row, torch.float64)
    row.vary(live.optimizer, STEPS)
    if not live.surgeon.needs_pre_step:
        found = train(live, row, late=True).values()
        distances = furthest(found, _oracle(name))
        assert max(distances.values()) < row.tight, distances
    elif name.split(maxsplit=1)[0] in {"NAdam", "Adagrad", "ASGD"}:
        with pytest.raises(OptimizerError, match=r"stepped 'w' without before_step\(\)"):
            train(live, row, late=True)


@pytest.mark.parametrize(
    "name",
    seldom(
        ["SGD dampening fused", "AdamW fused", "NAdam decay", "ASGD falling"],
        often=["AdamW fused", "NAdam decay"],
    ),
)
def test_two_recipes_may_call_for_the_same_step(name: str) -> None:
    row = ROWS[name]

    class Twice(OptimizerSurgeon):
        def before_step(self) -> None:
            super().before_step()
            super().before_step()

        def after_step(self) -> None:
            super().after_step()
            super().after_step()

    once, twice = begin(row, torch.float32), begin(row, torch.float32)
    twice.surgeon = Twice(twice.optimizer, {"w": twice.weight})
    found, wanted = train(twice, row).values(), train(once, row).values()
    assert all(same_bits(found[key], wanted[key]) for key in wanted)


def _one_in_six(names: Iterable[str]) -> list[Any]:
    """Quick is every sixth."""
    return [
        pytest.param(name, marks=[*ROWS[name].marks(), *[pytest.mark.slow] * (number % 6 > 0)])
        for number, name in enumerate(names)
    ]


COARSE: dict[str, float] = {
    "SGD dampening": 0.05,
    "Adam": 0.05,
    "AdamW fused": 0.05,
    "NAdam decay": 0.05,
    "RAdam decoupled foreach": 0.05,
    "Adamax decay": 0.05,
    "Adagrad lr_decay": 0.05,
    "ASGD falling": 0.05,
    "timm SGDW dampening": 0.05,
    "timm NAdamW": 0.05,
    "timm Adan": 0.05,
    "timm Adopt": 0.05,
    "timm LaProp": 0.05,
    "timm MADGRAD": 0.05,
    "timm AdaBelief": 0.05,
}


@pytest.mark.parametrize("name", _one_in_six(COARSE))
def test_bfloat16_as_near_as_torch_itself(name: str) -> None:
    """To the float64 oracle, a renewed unit is not much further away than torch's own fresh parameter in bfloat16."""
    row = ROWS[name]
    exact, torchs = _oracle(name)["value"], oracle(row, torch.bfloat16)["value"].double()
    live = train(begin(row, torch.bfloat16), row)
    mine = live.weight.detach().double()
    assert live.weight.dtype == torch.bfloat16
    renewed = ~NEVER
    theirs = (torchs - exact)[renewed].abs()
    ours = (mine - exact)[renewed].abs()
    assert ours.mean() < 1.5 * theirs.mean(), (ours.mean(), theirs.mean())
    assert torch.equal(mine[NEVER], torchs[NEVER])


def _without(surgeon_method: str, name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    row = ROWS[name]
    monkeypatch.setattr(OptimizerSurgeon, surgeon_method, lambda *_: None)
    return furthest(train(begin(row, torch.float64), row).values(), _oracle(name))


STRAYS: dict[str, Any] = {
    "SGD dampening": 1e-4,
    "Adam": 1e-2,
    "AdamW fused": 1e-2,
    "NAdam decay": 1e-3,
    "RAdam decoupled foreach": 1e-3,
    "Adamax decay": 1e-3,
    "Adagrad lr_decay": 1e-2,
    "ASGD falling": 1e-2,
    "timm SGDW dampening": 1e-5,
    "timm NAdamW": 1e-2,
    "timm AdamWLegacy": 1e-2,
    "timm Adan": 1e-3,
    "timm Adopt": 1e-3,
    "timm LaProp": 1e-3,
    "timm MADGRAD": 1e-3,
    "timm AdaBelief": 1e-3,
    "timm RAdamLegacy": 1e-3,
    "timm NAdamLegacy": 1e-3,
    "transformers AdamW": 1e-3,
}


@pytest.mark.parametrize("name", _one_in_six(STRAYS))
def test_zeroing_alone_would_not_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason for all this, and the proof that the oracle would see its absence."""
    assert _without("after_step", name, monkeypatch)["value"] > STRAYS[name]


def test_the_plan_of_renewals_is_what_it_says() -> None:
    assert NEVER.sum() == 4
    assert max(RENEWALS) < STEPS - 100
