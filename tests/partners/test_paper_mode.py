"""A whole graft in mode 'paper' against plain loops, and that these loops can disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from crossed import crossed
from partners import oracle
from partners.nets import TABLES, Depthwise, Plain, Residual, attach, copies, random


def _judge(
    build: type[nn.Module], networks: int = 2, *, measure: Any = None, **settings: Any
) -> None:
    models = [random(build, seed) for seed in range(networks)]
    before = [oracle.values(copies(model)) for model in models]
    grafter = attach(models, **settings)
    events = grafter.graft()
    table = dict(TABLES[build])
    known = {name: settings[name] for name in ("amplitude", "sharpness") if name in settings}
    if build is Residual:  # nobody claims it: half and half
        assert any("temperature" in note for note in grafter.report.notes)
    chosen = measure or (lambda name, weights: oracle.entropy(weights))
    expected = oracle.ring(before, table, measure=chosen, **known)
    for k, model in enumerate(models):
        found = oracle.values(model.state_dict())
        expected[k].setdefault("", [])
        if build is Residual:
            pair = zip(before[k]["temperature"], before[k - 1]["temperature"], strict=True)
            expected[k]["temperature"] = [(a + b) / 2 for a, b in pair]
        for name, numbers in found.items():
            assert numbers == pytest.approx(expected[k][name], abs=1e-12), name
    for event in events:
        weight = f"{event.layer}.weight"
        own, partner = before[event.partner], before[event.partner - 1]
        assert event.information == pytest.approx(chosen(weight, own[weight]), abs=1e-12)
        assert event.partner_information == pytest.approx(
            chosen(weight, partner[weight]), abs=1e-12
        )
        assert event.share == pytest.approx(
            oracle.alpha(event.information, event.partner_information, **known), abs=1e-12
        )
        assert event.distance == pytest.approx(_distance(own[weight], partner[weight]))


def _distance(own: Sequence[float], partner: Sequence[float]) -> float:
    def norm(row: list[float]) -> float:
        return sum(each * each for each in row) ** 0.5

    apart = norm([a - b for a, b in zip(own, partner, strict=True)])
    return 2 * apart / (norm(list(own)) + norm(list(partner)))


@pytest.mark.parametrize(("build", "networks"), crossed([Plain, Residual, Depthwise], [2, 3, 4]))
def test_every_tensor_takes_the_share_of_its_layer(build: type[nn.Module], networks: int) -> None:
    _judge(build, networks)


@pytest.mark.parametrize("settings", [{"amplitude": 1.0, "sharpness": 3.0}, {"amplitude": 0.0}])
def test_settings_of_the_share(settings: dict[str, float]) -> None:
    _judge(Residual, 3, **settings)


def test_the_histogram_of_the_released_code_is_an_option() -> None:
    def measure(name: str, weights: Sequence[float]) -> float:
        del name
        return oracle.entropy(weights, bins=7, drop_maximum=True)

    _judge(Plain, measure=measure, bins=7, drop_maximum=True, sharpness=5.0)


def test_the_sum_of_the_filters_entropies() -> None:
    counts = {"conv1.weight": 4, "conv2.weight": 6, "head.weight": 3}

    def measure(name: str, weights: Sequence[float]) -> float:
        return oracle.filter_entropy(weights, filters=counts[name])

    _judge(Plain, measure=measure, criterion="filter_entropy", sharpness=2.0)


def test_the_sum_of_absolute_values() -> None:
    def measure(name: str, weights: Sequence[float]) -> float:
        del name
        return sum(map(abs, weights))

    _judge(Depthwise, measure=measure, criterion="l1", sharpness=0.1)


def test_the_oracle_can_disagree() -> None:
    """Another setting than the one that was used is noticed."""
    models = [random(Plain, seed) for seed in range(2)]
    before = [oracle.values(copies(model)) for model in models]
    attach(models, sharpness=2.0).graft()
    other = oracle.ring(before, TABLES[Plain], sharpness=1.9)[0]["conv1.weight"]
    assert oracle.values(models[0].state_dict())["conv1.weight"] != pytest.approx(other, abs=1e-9)


def test_rounded_shares() -> None:
    models = [random(Plain, seed) for seed in range(2)]
    for event in attach(models, decimals=2, sharpness=1.0).graft():
        exact = oracle.alpha(event.information, event.partner_information, sharpness=1.0)
        assert event.share == round(exact, 2)
        assert event.share != exact


def test_layers_that_the_trace_did_not_meet_go_by_their_own_weights() -> None:
    class Unused(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Conv2d(2, 3, 3)

    models = [random(Unused, seed) for seed in range(2)]
    before = [oracle.values(copies(model)) for model in models]
    attach(models, sharpness=5.0).graft()
    table = {**TABLES[Plain], "spare.weight": ("spare.weight",), "spare.bias": ("spare.weight",)}
    expected = oracle.ring(before, table, sharpness=5.0)
    for k in range(2):
        found = oracle.values(models[k].state_dict())
        for name in found:
            assert found[name] == pytest.approx(expected[k][name], abs=1e-12), name


def test_counters_are_copied() -> None:
    models = [random(Plain, seed) for seed in range(3)]
    attach(models).graft()
    found = [int(model.get_buffer("bn1.num_batches_tracked")) for model in models]
    assert found == [12, 10, 11]
    assert models[0].get_buffer("bn1.num_batches_tracked").dtype == torch.int64
