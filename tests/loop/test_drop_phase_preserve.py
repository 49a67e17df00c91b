"""``preserve=True`` after a drop: what comes back is not heard before its readers learn it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.optim.swa_utils import AveragedModel

import regrow
from loop.test_drop_phase import GONE, Depthwise, Plain, Transposed, _batch, _dropping
from loop.test_drop_phase_loops import _sgd, _step
from traced import attach_traced

NETS: dict[str, Callable[[], nn.Module]] = {
    "norm and relu": lambda: Plain((6, 6), norm=True, act=F.relu),
    "sigmoid": lambda: Plain((6, 6), norm=False, act=torch.sigmoid),
    "sigmoid behind a norm": lambda: Plain((6, 6), norm=True, act=torch.sigmoid),
    "depthwise": lambda: Depthwise((6, 6)),
    "transposed": lambda: Transposed((6, 6)),
}


def _build(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NETS[name]().double()


def _attach(net: nn.Module, optimizer: torch.optim.Optimizer, **told: object) -> regrow.Regrower:
    return attach_traced(
        _dropping(preserve=True),
        net,
        optimizer,
        example_inputs=_batch(0)[0],
        layers=("conv", "conv_transpose"),
        calibration_inputs=_batch(77)[0],
        **told,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("name", NETS)
def test_the_output_does_not_move(name: str) -> None:
    model = _build(name)
    average = AveragedModel(model, use_buffers=True)
    optimizer = _sgd(model)
    regrower = _attach(model, optimizer, companions=[average])
    for step in range(9):
        _step(model, optimizer, step)
    assert regrower.report.resting == GONE
    average.update_parameters(model)
    x, _ = _batch(50)
    nets = (model, average)
    before = [each.eval()(x) for each in nets]
    events = regrower.bring_back()
    assert {event.change for event in events} == {0.0}
    for net, old in zip(nets, before, strict=True):
        torch.testing.assert_close(net(x), old, rtol=1e-12, atol=1e-12)
    for layer, gone in GONE.items():
        weight = model.get_parameter(f"{layer}.weight")
        is_transposed = isinstance(model.get_submodule(layer), nn.ConvTranspose2d)
        assert (
            (weight.transpose(0, 1) if is_transposed else weight)[list(gone)]
            .flatten(1)
            .any(1)
            .all()
        )
    # Heard again as soon as the readers have learnt.
    model.train()
    _step(model, optimizer, 9)
    read = model.get_parameter("head.weight").unflatten(1, (6, -1))[:, list(GONE["b"])]
    assert read.any()


def test_no_mean_is_moved() -> None:
    """The network without the filters never had their means."""
    model = _build("sigmoid")
    optimizer = _sgd(model)
    regrower = _attach(model, optimizer)
    for step in range(9):
        _step(model, optimizer, step)
    before = {name: model.get_parameter(name).clone() for name in ("b.bias", "head.bias")}
    regrower.bring_back()
    kept = [index for index in range(6) if index not in GONE["b"]]
    assert torch.equal(model.get_parameter("b.bias")[kept], before["b.bias"][kept])
    assert torch.equal(model.get_parameter("head.bias"), before["head.bias"])


def test_a_reader_that_nobody_trains_keeps_its_bits() -> None:
    """Behind a sigmoid it would hear the dropped filter's 0.5, and it cannot be silenced: its layer stays whole."""
    model = _build("sigmoid")
    model.head.requires_grad_(requires_grad=False)  # type: ignore[union-attr]
    head = model.get_parameter("head.weight").clone()
    optimizer = _sgd(model)
    regrower = _attach(model, optimizer)
    for step in range(10):
        _step(model, optimizer, step)
        assert torch.equal(model.get_parameter("head.weight"), head)
        assert "b" not in regrower.report.resting
    assert "b" not in {event.layer for event in regrower.report.events}
    assert "b: not renewed before head.weight is trained" in str(regrower.report)


def test_a_reader_that_is_frozen_meanwhile_is_put_back() -> None:
    """It could not learn to hear what is new: nothing is cut off in it, and what it reads comes back as it was."""
    model = _build("sigmoid")
    optimizer = _sgd(model)
    stepped: dict[str, torch.Tensor] = {}

    def spy(*_: object) -> None:
        stepped.update({name: each.clone() for name, each in model.state_dict().items()})

    handle = optimizer.register_step_post_hook(spy)  # before the regrower's own
    regrower = _attach(model, optimizer)
    step = 0
    while not regrower.report.resting:
        _step(model, optimizer, step)
        step += 1
    handle.remove()
    assert set(regrower.report.resting) == {"a", "b"}
    model.head.requires_grad_(requires_grad=False)  # type: ignore[union-attr]
    assert {event.layer for event in regrower.bring_back()} == {"a"}
    gone = list(GONE["b"])
    assert torch.equal(model.get_parameter("head.weight"), stepped["head.weight"])
    assert torch.equal(model.get_parameter("b.weight")[gone], stepped["b.weight"][gone])
