from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from crossed import seldom
from graph.nets import FOLLOWED, build, crater, example, resnet
from regrow.errors import ConfigError, UnknownNameError
from regrow.graph import Wiring, trace


@pytest.fixture(scope="module")
def wiring() -> Wiring:
    return trace(resnet(), torch.zeros(1, 3, 8, 8))


def test_a_wiring_is_looked_up_by_path(wiring: Wiring) -> None:
    assert wiring["2.conv1"].weight == "2.conv1.weight"
    assert "2.conv1" in wiring
    assert "2.conv9" not in wiring
    assert len(wiring) == len(wiring.layers) == len(list(wiring)) == 7
    with pytest.raises(
        UnknownNameError, match=r"unknown layer '2.conv9' \(did you mean '2.conv[12]'\?\)"
    ):
        wiring["2.conv9"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        wiring.layers = ()  # type: ignore[misc]


def test_renewable_leaves_out_heads_and_other_kinds(wiring: Wiring) -> None:
    assert [each.path for each in wiring.renewable()] == list(wiring)[:-1]
    assert wiring.renewable(layers=("linear",)) == ()
    both = trace(crater(), torch.zeros(1, 3, 8, 8))
    assert [each.path for each in both.renewable(("conv", "linear"))] == ["0", "2", "5"]
    up = trace(build("transposed"), example("transposed"))
    assert [each.path for each in up.renewable(("conv_transpose",))] == ["2", "5"]


def test_renewable_takes_patterns(wiring: Wiring) -> None:
    def paths(**given: tuple[str, ...]) -> list[str]:
        return [each.path for each in wiring.renewable(**given)]

    assert paths(include=("2.*",)) == ["2.conv1", "2.conv2"]
    assert paths(include=("*.conv1", "0")) == ["0", "2.conv1", "3.conv1"]
    assert paths(exclude=("*.conv?", "0")) == ["3.down.0"]
    assert paths(include=("2.*",), exclude=("*2",)) == ["2.conv1"]
    assert paths(exclude=("*",)) == []


@pytest.mark.parametrize("argument", ["include", "exclude"])
def test_a_pattern_that_matches_nothing_is_an_error(wiring: Wiring, argument: str) -> None:
    message = f"{argument} pattern 'layer9' must match a layer, and matches none of: 0, 2.conv1, "
    with pytest.raises(ConfigError, match=message):
        wiring.renewable(**{argument: ("layer9",)})


def test_a_pattern_may_name_a_layer_that_was_not_traced() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(4, 4, 1),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1)),
        nn.Flatten(),
        nn.Linear(64, 2),
    )
    found = trace(net, torch.zeros(1, 3, 4, 4))
    assert found.untraced == ("2",)
    assert [each.path for each in found.renewable(exclude=["2", "1"])] == ["0"]
    assert found.renewable(include=["2"]) == ()
    with pytest.raises(ConfigError, match=r"exclude pattern '3' must match a layer.*: 0, 1, 4, 2$"):
        found.renewable(exclude=["3"])


def test_a_layer_that_shares_its_weight_is_traced_under_one_name() -> None:
    first, second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    second.weight = first.weight
    found = trace(nn.Sequential(first, second, nn.Flatten()), torch.zeros(1, 3, 4, 4))
    assert found.untraced == ()
    with pytest.raises(ConfigError, match="must match a layer"):
        found.renewable(exclude=["1"])


def test_an_unknown_kind_is_an_error(wiring: Wiring) -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown kind of layer 'convs' \(did you mean 'conv'"
    ):
        wiring.renewable(layers=("convs",))


def test_the_table_in_full() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)
    )
    table = str(trace(net, torch.zeros(1, 3, 4, 4)))
    assert table.splitlines() == [
        "layer  kind    filters  weight   norm  read by  note",
        "-----------------------------------------------------------",
        "0      conv          4  4x3x3x3  1     3",
        "3      linear        2  2x16     -     -        output head",
    ]


@pytest.mark.parametrize("name", seldom(FOLLOWED, often=("resnet", "self_attention", "transposed")))
def test_the_table_fits_a_terminal(name: str) -> None:
    wiring = trace(build(name), example(name))
    remark = "a long sentence that has to go over several lines " * 5
    long = dataclasses.replace(
        wiring,
        layers=tuple(
            dataclasses.replace(each, path=f"model.backbone.stages.{each.path}", refused=remark)
            for each in wiring.layers
        ),
        remarks=(remark,),
    )
    for each in (wiring, long):
        assert max(len(line) for line in str(each).splitlines()) <= 120
        assert len(str(each).splitlines()) >= len(each) + 2


def test_the_table_names_groups_and_counts_readers(wiring: Wiring) -> None:
    assert "2.conv1 +2" in str(wiring)
    grouped = trace(build("grouped_and_depthwise"), example("grouped_and_depthwise"))
    assert "6x1x3x3 /6" in str(grouped)
