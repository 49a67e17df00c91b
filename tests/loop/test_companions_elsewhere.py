"""Companions that are not the whole model under its own names: targets, averages without a module, hard copies."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import regrow
from regrow.errors import ConfigError
from traced import attach_traced

RECIPE = regrow.RandomOut(confirm="gradient", threshold=1e9, active_fraction=1.0, every_steps=4)
IMAGES = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def _network() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
    )


class Policy(nn.Module):
    """A network and its target, as agents that learn values hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.q_net = _network()
        self.q_net_target: Any = copy.deepcopy(self.q_net)

    def forward(self, x: Tensor) -> Tensor:
        return self.q_net(x)


class Shadows:
    """An average that is no module: tensors in the order of the parameters it was given."""

    def __init__(self, parameters: Any) -> None:
        self.shadow_params = [each.detach().clone() for each in parameters]

    def step(self, parameters: Any) -> None:
        """Move all of them, into new tensors: a list that is kept elsewhere would grow old."""
        pairs = zip(self.shadow_params, parameters, strict=True)
        self.shadow_params = [0.9 * mine + 0.1 * each.detach() for mine, each in pairs]


def _train(model: nn.Module, parameters: Any, companion: object, *, steps: int = 4) -> Any:
    """Until all filters of the convolution are renewed, which happens behind the last step."""
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    regrower = attach_traced(
        RECIPE, model, optimizer, example_inputs=IMAGES[:1], companions=[companion]
    )
    for number in range(steps):
        optimizer.zero_grad()
        model(IMAGES).square().mean().backward()
        optimizer.step()
        if isinstance(companion, Shadows) and number < steps - 1:
            companion.step(parameters)
    assert [len(event.filters) for event in regrower.report.events] == [4]
    return regrower


def test_a_target_that_is_the_copy_of_a_part() -> None:
    """Its names lack the part's prefix, and the model itself holds it under yet another one."""
    torch.manual_seed(0)
    policy = Policy()
    linear = policy.q_net_target[4].weight.clone()
    _train(policy, list(policy.q_net.parameters()), policy.q_net_target)
    assert torch.equal(policy.q_net_target[0].weight, policy.q_net[0].weight)
    assert torch.equal(policy.q_net_target[0].bias, policy.q_net[0].bias)
    assert torch.equal(policy.q_net_target[1].running_var, torch.ones(4))
    assert torch.equal(policy.q_net_target[4].weight, linear)


def test_a_copy_of_the_whole_for_a_model_that_is_a_part() -> None:
    """The other way round: the copy's names have a prefix that the model's lack."""
    torch.manual_seed(0)
    policy = Policy()
    del policy.q_net_target
    whole = AveragedModel(policy)
    _train(policy.q_net, list(policy.q_net.parameters()), whole)
    mine: Any = whole.module.q_net
    assert torch.equal(mine[0].weight, policy.q_net[0].weight)
    assert not torch.equal(mine[4].weight, policy.q_net[4].weight)


def test_a_copy_that_fits_in_several_ways_is_refused() -> None:
    policy = Policy()
    wanted = r"'the model' under 'module\.q_net\.' or 'the model' under 'module\.q_net_target\.'"
    with pytest.raises(ConfigError, match=wanted):
        _train(policy.q_net, list(policy.q_net.parameters()), AveragedModel(policy))

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = _network(), _network()

        def forward(self, x: Tensor) -> Tensor:
            return self.left(x) + self.right(x)

    both = Both()
    with pytest.raises(ConfigError, match="it may hold 'left' under '' or 'right' under ''"):
        _train(both, list(both.parameters()), copy.deepcopy(both.left))


@pytest.mark.parametrize("trained_only", [False, True])
def test_an_average_that_holds_tensors_in_order(trained_only: bool) -> None:
    torch.manual_seed(0)
    model = _network()
    if trained_only:
        model[4].weight.requires_grad_(False)
    parameters = [each for each in model.parameters() if each.requires_grad or not trained_only]
    average = Shadows(parameters)
    before = average.shadow_params
    _train(model, parameters, average)
    assert torch.equal(average.shadow_params[0], model[0].weight)
    assert torch.equal(average.shadow_params[2], torch.ones(4))
    last = average.shadow_params[-1]
    assert not torch.equal(last, model[4].bias)  # a living entry stays the average's own
    assert not torch.equal(last, before[-1])


def test_an_average_of_other_tensors_is_refused() -> None:
    model = _network()
    average = Shadows(list(model.parameters())[:3])
    with pytest.raises(ConfigError, match="there are 6, 6 of them trained, and Shadows holds 3"):
        _train(model, list(model.parameters()), average)
    average = Shadows([*list(model.parameters())[:5], torch.zeros(7)])
    with pytest.raises(ConfigError, match=r"in Shadows 4\.bias has shape \(7,\)"):
        _train(model, list(model.parameters()), average)


def test_a_target_that_is_overwritten_by_hard_copies() -> None:
    """Between two copies it holds the renewed filters, and after one all of the model."""
    torch.manual_seed(0)
    policy = Policy()
    _train(policy, list(policy.q_net.parameters()), policy.q_net_target)
    pairs = zip(policy.q_net.parameters(), policy.q_net_target.parameters(), strict=True)
    same = [torch.equal(one, two) for one, two in pairs]
    assert same[:4] == [True] * 4
    assert not any(same[4:])
    policy.q_net_target.load_state_dict(policy.q_net.state_dict())
    pairs = zip(policy.q_net.parameters(), policy.q_net_target.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
