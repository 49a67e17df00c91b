from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks

from graph.nets import Forward
from regrow.errors import TraceError
from regrow.graph import trace
from regrow.graph.undisturbed import RunningModule


class Restless(nn.Module):
    """Does everything in its forward that a trace must undo, and what train() and eval() must not be asked for."""

    count: Tensor
    replaced: Tensor
    nothing: Tensor | None

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.drop = nn.Dropout()
        self.head = nn.Linear(4, 2)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("replaced", torch.tensor([float("nan"), 1.0]))
        self.register_buffer("nothing", None)
        self.fails = fails

    def train(self, mode: bool = True) -> Restless:
        raise AssertionError("the flags are set one by one")

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.count += 1
        self.replaced = torch.zeros(3)
        self.nothing = torch.ones(1)
        torch.rand(3)
        random.random()  # noqa: S311
        x = self.drop(self.bn(self.conv(x)))
        if self.fails:
            raise ValueError("no")
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("fails", [False, True])
def test_a_trace_leaves_the_model_as_it_was(fails: bool) -> None:
    net = Restless(fails=fails)
    net.bn.training = False
    net.head.weight.requires_grad_(False)
    net.conv.weight.grad = torch.full_like(net.conv.weight, 2.0)
    called: list[str] = []
    handle = net.conv.register_forward_hook(lambda *_: called.append("own hook"))
    grad = net.conv.weight.grad
    buffers = dict(net.named_buffers())
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    versions = {name: tensor._version for name, tensor in net.named_parameters()}
    flags = {name: module.training for name, module in net.named_modules()}
    hooks = {name: len(module._forward_hooks) for name, module in net.named_modules()}
    state, python_state = torch.get_rng_state(), random.getstate()
    if fails:
        with pytest.raises(TraceError, match="the model's own forward raised ValueError: no"):
            trace(net, torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(0)))
    else:
        trace(net, torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(0)))
    handle.remove()
    assert {name: module.training for name, module in net.named_modules()} == flags
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python_state
    assert net.conv.weight.grad is grad
    assert torch.equal(grad, torch.full_like(grad, 2.0))
    assert all(tensor is buffers[name] for name, tensor in net.named_buffers())
    assert net.nothing is None
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor.nan_to_num(7.0), before[name].nan_to_num(7.0)), name
    assert {name: tensor._version for name, tensor in net.named_parameters()} == versions
    assert [p.requires_grad for p in net.head.parameters()] == [False, True]
    hooks["conv"] -= 1
    assert {name: len(module._forward_hooks) for name, module in net.named_modules()} == hooks
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks
    assert called == ["own hook"] * (1 if fails else 2)  # in evaluation mode and in training mode
    assert torch.is_grad_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_path_of_the_running_module_is_known() -> None:
    seen: list[str] = []

    def look(running: RunningModule) -> Callable[..., None]:
        return lambda *_: seen.append(running())

    inner = Forward(lambda _, x: x)
    net = nn.Sequential(nn.Sequential(inner, inner), nn.Identity())
    running = RunningModule(net)
    inner._run = lambda _, x: (look(running)(), x)[1]
    with running.watching():
        net(torch.zeros(1))
        nn.ReLU()(torch.zeros(1))
    assert seen == ["0.0", "0.0"]
    assert running() == ""


def test_an_error_that_the_model_catches_does_not_confuse_the_path() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError

    def run(net: nn.Module, x: Tensor) -> Tensor:
        try:
            return net.fails(x)
        except ValueError:
            return x

    seen: list[str] = []
    net = nn.Sequential(
        Forward(run, fails=Fails()), Forward(lambda _, x: (seen.append(running()), x)[1])
    )
    running = RunningModule(net)
    with running.watching():
        net(torch.zeros(1))
    assert seen == ["1"]
    assert running() == ""


def test_torch_has_no_hook_of_ours_afterwards() -> None:
    net = nn.Linear(2, 2)
    with RunningModule(net).watching():
        net(torch.zeros(1, 2))

    assert not global_hooks._has_any_global_hook()
