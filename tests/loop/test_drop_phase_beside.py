"""Filters that leave together: by two recipes on one model, and in layers that hear nobody else."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from crossed import crossed, seldom
from loop.test_drop_phase import Plain, _batch
from loop.test_drop_phase_loops import _build, _sgd, _silent, _step
from regrow.selection import Selection
from traced import attach_traced

pytestmark = [
    pytest.mark.filterwarnings("ignore:the recipe .* is at work:regrow.errors.RegrowWarning"),
    pytest.mark.filterwarnings("ignore:the .* has made steps before:regrow.errors.RegrowWarning"),
]


@dataclasses.dataclass(frozen=True)
class Fixed(Selection):
    """These filters, whatever their scores."""

    gone: Mapping[str, Sequence[int]]

    def __call__(
        self, scores: Mapping[str, Tensor], *, eligible: Mapping[str, Tensor], step: int
    ) -> dict[str, Tensor]:
        """Mark them."""
        return {
            layer: torch.tensor([index in self.gone.get(layer, ()) for index in range(len(values))])
            for layer, values in scores.items()
        }


def _repr(s1: int, s2: int, *, cycles: int = 1, seed: int = 0, **told: object) -> dict[str, object]:
    recipe = regrow.RePr(s1=s1, s2=s2, cycles=cycles, unit="steps", **told)  # type: ignore[arg-type]
    return {"recipe": recipe, "example_inputs": _batch(0)[0], "seed": seed}


def _fixed(s1: int, s2: int, gone: Mapping[str, Sequence[int]]) -> dict[str, object]:
    told = _repr(s1, s2)
    return {**told, "recipe": told["recipe"].with_parts(select=Fixed(gone))}  # type: ignore[attr-defined]


def _living(net: nn.Module, layer: str) -> set[int]:
    return set(net.get_parameter(f"{layer}.weight").flatten(1).any(1).nonzero()[:, 0].tolist())


def test_the_second_chooses_among_what_the_first_has_left() -> None:
    """Of twelve filters the first takes three; of the nine that are left the second takes a third."""
    torch.manual_seed(0)
    model = Plain((6, 6), norm=False, act=F.relu).double()
    optimizer = _sgd(model)
    first = regrow.attach(model=model, optimizer=optimizer, **_repr(2, 9, fraction=0.25))  # type: ignore[arg-type]
    second = regrow.attach(model=model, optimizer=optimizer, **_repr(3, 9, fraction=0.34))  # type: ignore[arg-type]
    for step in range(4):
        _step(model, optimizer, step)
    out = [
        {(layer, index) for layer, filters in each.report.resting.items() for index in filters}
        for each in (first, second)
    ]
    assert [len(each) for each in out] == [3, 3]
    assert not out[0] & out[1]


@pytest.mark.parametrize(
    ("seed", "policy"), crossed(seldom(range(4), often=range(2)), ["writer", "stream"])
)
def test_together_they_leave_a_filter_in_every_layer(seed: int, policy: str) -> None:
    model = _build()
    optimizer = _sgd(model)
    for s1 in (2, 3, 4):
        told = _repr(s1, 9, seed=10 * s1 + seed, fraction=0.8, rank_by="random")
        regrow.attach(model=model, optimizer=optimizer, coupled=policy, **told)  # type: ignore[arg-type]
    for step in range(6):
        _step(model, optimizer, step)
        assert all(_living(model, layer) for layer in ("stem", "a", "b"))


@pytest.mark.parametrize(("one", "two"), [((2, 4), (3, 6)), ((2, 7), (3, 3))])
def test_each_is_out_until_it_comes_back_itself(one: tuple[int, int], two: tuple[int, int]) -> None:
    """Entries that both silence are what they were before the first, when the last has come back."""
    model = _build("sigmoid")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    regrowers = [
        regrow.attach(model=model, optimizer=optimizer, **told)  # type: ignore[arg-type]
        for told in (_fixed(*one, {"a": (1, 4), "b": (0,)}), _fixed(*two, {"a": (1,), "b": (2,)}))
    ]
    both = 0
    for step in range(11):
        _step(model, optimizer, step)
        for regrower in regrowers:
            for name, mask in _silent(regrower).items():
                assert not model.get_parameter(name)[mask].any(), (step, name)
        both += all(regrower.report.resting for regrower in regrowers)
    assert both > 2
    # The second has counted among those that were left.
    assert {event.layer: event.filters for event in regrowers[1].report.events} == {
        "a": (2,),
        "b": (3,),
    }
    assert not any(regrower.report.resting for regrower in regrowers)
    rows = [1, 2, 4, 5]
    kept = model.get_parameter("b.weight")
    assert torch.equal(kept[rows], before["b.weight"][rows])  # the slices that both of them read
    head = model.get_parameter("head.weight")
    assert torch.equal(head, before["head.weight"])


class Depthwise(nn.Module):
    """Three times a pointwise and a depthwise layer, each with a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(3):
            inputs = width if number else 2
            layers += [nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


LAYERS = [f"body.{3 * number}" for number in range(6)]


@pytest.mark.parametrize("seed", seldom(range(8), often=(0, 7)))
def test_a_drop_never_empties_a_layer_by_what_goes_with_it(seed: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Depthwise(6).double()
    optimizer = _sgd(model)
    told = _repr(2, 3, seed=seed, fraction=0.5, rank_by="random")
    regrower = regrow.attach(model=model, optimizer=optimizer, **told)  # type: ignore[arg-type]
    for step in range(2):
        _step(model, optimizer, step)
    report = regrower.report
    assert all(_living(model, layer) for layer in LAYERS)
    for layer in LAYERS:
        out = {*report.resting.get(layer, ()), *report.bound.get(layer, ())}
        assert out == set(range(6)) - _living(model, layer)
    assert "since they read nothing but dropped filters" in str(report)
    outputs = copy.deepcopy(model)(_batch(3)[0])
    assert (outputs - outputs[0]).abs().max() > 1e-9  # what comes in is heard at the other end
    for step in range(2, 5):
        _step(model, optimizer, step)
    assert not report.resting
    assert not report.bound
    assert all(_living(model, layer) == set(range(6)) for layer in LAYERS)


def test_who_stays_are_the_best_of_those_that_would_empty_a_layer() -> None:
    """Half of the pointwise layer and the other half of the depthwise one: nothing would be left of the latter."""
    model = Depthwise(4).double()
    optimizer = _sgd(model)
    gone = {"body.0": (0, 1), "body.3": (2, 3)}
    told = _fixed(1, 3, gone)
    with torch.no_grad():
        for layer, size in (("body.0", 2.0), ("body.3", 5.0)):
            weight = model.get_parameter(f"{layer}.weight")
            for index in range(4):
                weight[index] = size + index
    recipe = told["recipe"].with_parts(  # type: ignore[attr-defined]
        criterion=regrow.RePr(rank_by="weights").criterion
    )
    regrower = attach_traced(recipe, model, optimizer, example_inputs=_batch(0)[0])
    _step(model, optimizer, 0)
    assert regrower.report.resting == {"body.0": (0, 1), "body.3": (2,)}
    assert regrower.report.bound == {"body.3": (0, 1)}
