"""The policies for filters on a residual stream, in training."""

import pytest
import torch
from torch import nn

import regrow
from graph.nets import resnet
from regrow.errors import ConfigError, UnknownNameError
from traced import attach_traced

X = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 1, 2, 0, 1, 2])


def _net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return resnet()


def _step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(X), Y).backward()
    optimizer.step()


def _kill(net: nn.Module, path: str, *filters: int) -> None:
    """No gradient reaches these: the norm behind multiplies by zero."""
    with torch.no_grad():
        for index in filters:
            net.get_parameter(f"{path}.weight")[index] = 0.0


def _watch(
    net: nn.Module, coupled: str, **told: object
) -> tuple[torch.optim.Optimizer, regrow.Regrower]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recipe = regrow.RandomOut(
        confirm="gradient", threshold=1e-12, active_fraction=1.0, readers="zero"
    )
    return optimizer, attach_traced(
        recipe, net, optimizer, example_inputs=X, coupled=coupled, **told
    )


def test_inner_leaves_the_stream_out_and_says_so() -> None:
    _, regrower = _watch(_net(), "inner")
    assert set(regrower.report.layers) == {"2.conv1", "3.conv1"}
    assert "coupled='inner' leaves out 0, 2.conv2, 3.conv2, 3.down.0" in str(regrower.report)


def test_writer_renews_its_own_and_keeps_what_is_shared() -> None:
    net = _net()
    optimizer, regrower = _watch(net, "writer")
    _kill(net, "2.bn2", 1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        optimizer.param_groups[0]["lr"] = 0.0
    _step(net, optimizer)
    after = net.state_dict()
    assert [(event.layer, event.filters) for event in regrower.report.events] == [("2.conv2", (1,))]
    assert not torch.equal(after["2.conv2.weight"][1], before["2.conv2.weight"][1])
    assert after["2.bn2.weight"][1] == 1.0
    for reader in ("3.conv1", "3.down.0"):
        assert torch.equal(after[f"{reader}.weight"], before[f"{reader}.weight"])
    assert "2.conv2: kept in 3.conv1, 3.down.0, which read something else with it" in str(
        regrower.report
    )


def test_stream_renews_all_writers_of_a_channel_or_none() -> None:
    net = _net()
    optimizer, regrower = _watch(net, "stream")
    optimizer.param_groups[0]["lr"] = 0.0
    _kill(net, "2.bn2", 1)
    _step(net, optimizer)
    assert not regrower.report.events  # the other writer of channel 1 is alive
    _kill(net, "1", 1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    _step(net, optimizer)
    after = net.state_dict()
    assert [(event.layer, event.filters) for event in regrower.report.events] == [
        ("0", (1,)),
        ("2.conv2", (1,)),
    ]
    for writer, norm in (("0", "1"), ("2.conv2", "2.bn2")):
        assert not torch.equal(after[f"{writer}.weight"][1], before[f"{writer}.weight"][1])
        assert torch.equal(
            after[f"{writer}.weight"][[0, 2, 3]], before[f"{writer}.weight"][[0, 2, 3]]
        )
        assert after[f"{norm}.weight"][1] == 1.0
    for reader in ("2.conv1", "3.conv1", "3.down.0"):
        assert not after[f"{reader}.weight"][:, 1].any()
        assert torch.equal(after[f"{reader}.weight"][:, 0], before[f"{reader}.weight"][:, 0])
    assert not regrower.report.notes


def test_a_stream_that_is_not_watched_whole_is_left_out() -> None:
    net = _net()
    _, regrower = _watch(net, "stream", exclude=["2.conv2"])
    assert set(regrower.report.layers) == {"2.conv1", "3.conv1", "3.conv2", "3.down.0"}
    assert (
        "coupled='stream' leaves out 4 of 4 filters of 0: 2.conv2 writes into their stream too"
        in regrower.report.notes
    )


def test_nothing_left_and_unknown_policies_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="coupled='inner' leaves none of 0: coupled='writer' takes all"
    ):
        _watch(_net(), "inner", include=["0"])
    with pytest.raises(
        UnknownNameError, match=r"unknown policy for coupled filters 'streams'.*'stream'"
    ):
        _watch(_net(), "streams")
