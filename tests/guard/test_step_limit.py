"""No step moves a layer further than a tenth of its length: against a training written out in double precision."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from crossed import crossed
from guard.driving import bits, drive, guarding, noise, same_bits
from regrow.errors import ConfigError
from regrow.guard import StepLimit


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 6, 2, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 25, 3),
    ).to(dtype)


GROUPS = [
    ["0.weight", "0.bias"],
    ["1.weight"],
    ["1.bias"],
    ["3.weight", "3.bias"],
    ["6.weight", "6.bias"],
]

# sqrt of the sum of variances: a weight and a bias of torch are uniform within b = 1 / sqrt(fan_in), variance b^2 / 3.
# torch takes the second axis of a weight for its inputs, in a transposed convolution too.
FRESH = [
    math.sqrt((4 * 18 + 4) / (3 * 18)),
    2.0,
    2.0,
    math.sqrt((4 * 3 * 4 + 6) / (3 * 3 * 4)),
    math.sqrt((3 * 150 + 3) / (3 * 150)),
]


class ByHand:
    """SGD with decay, or Adam, and the limit behind it, tensor by tensor."""

    def __init__(self, model: nn.Module, kind: str, lr: float) -> None:
        self.named = {k: v.detach().clone() for k, v in model.named_parameters()}
        self.kind, self.lr, self.count, self.hits = kind, lr, 0, 0
        self.first = {k: torch.zeros_like(v) for k, v in self.named.items()}
        self.second = {k: torch.zeros_like(v) for k, v in self.named.items()}

    def step(self, grads: dict[str, Tensor]) -> None:
        self.count += 1
        steps: dict[str, Tensor] = {}
        for name, weight in self.named.items():
            grad = grads[name]
            if self.kind == "SGD":
                steps[name] = -self.lr * (grad + 0.3 * weight)
                continue
            first, second = self.first[name], self.second[name]
            first.mul_(0.9).add_(0.1 * grad)
            second.mul_(0.999).add_(0.001 * grad * grad)
            root = (second / (1 - 0.999**self.count)).sqrt() + 1e-8
            steps[name] = -self.lr * first / (1 - 0.9**self.count) / root
        for group, fresh in zip(GROUPS, FRESH, strict=True):
            length = math.sqrt(sum(float((self.named[n] ** 2).sum()) for n in group))
            size = math.sqrt(sum(float((steps[n] ** 2).sum()) for n in group))
            share = min(1.0, 0.1 * max(length, fresh) / size)
            self.hits += share < 1
            for name in group:
                self.named[name] = self.named[name] + share * steps[name]


@pytest.mark.parametrize(("kind", "lr"), [("SGD", 0.4), ("Adam", 0.02)])
def test_against_a_training_by_hand_in_double_precision(kind: str, lr: float) -> None:
    model = network(torch.float64)
    by_hand = ByHand(model, kind, lr)
    twin = copy.deepcopy(model)
    if kind == "SGD":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(), lr=lr, weight_decay=0.3
        )
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    guard = guarding(StepLimit(), model, torch.zeros(2, 2, 6, 6, dtype=torch.float64))
    for batch in noise(12, 2, 6, 6, dtype=torch.float64):
        drive(model, optimizer, [batch], guard)
        for name, value in twin.named_parameters():
            value.data.copy_(by_hand.named[name])
        twin.zero_grad()
        nn.functional.cross_entropy(twin(batch[0]), batch[1]).backward()
        by_hand.step({k: v.grad for k, v in twin.named_parameters()})  # type: ignore[misc]
        for name, value in model.named_parameters():
            torch.testing.assert_close(value, by_hand.named[name], rtol=1e-6, atol=1e-9)
    assert 0 < by_hand.hits < 12 * 5
    assert sum(guard.hits.values()) == by_hand.hits


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda net: torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1),
    "adam": lambda net: torch.optim.Adam(net.parameters(), lr=1e-3),
    "adamw": lambda net: torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True),
    "rmsprop": lambda net: torch.optim.RMSprop(net.parameters(), lr=1e-4),
}


@pytest.mark.parametrize(("kind", "by"), crossed(OPTIMIZERS, ["layer", "unit", "network"]))
def test_a_step_within_the_limit_keeps_all_its_bits(kind: str, by: str) -> None:
    plain, guarded = network(), network()
    guard = guarding(StepLimit(by=by), guarded, torch.zeros(2, 2, 6, 6))  # type: ignore[arg-type]
    batches = noise(8, 2, 6, 6)
    drive(plain, OPTIMIZERS[kind](plain), batches)
    drive(guarded, OPTIMIZERS[kind](guarded), batches, guard)
    assert guard.state_dict() == {"hits": {}, "refused": 0}
    assert same_bits(bits(plain), bits(guarded))


def test_only_the_layer_that_is_hit_is_written() -> None:
    plain, guarded = network(), network()
    guard = guarding(StepLimit(), guarded, torch.zeros(2, 2, 6, 6))
    batches = noise(1, 2, 6, 6)
    for net, own in ((plain, None), (guarded, guard)):
        groups = [
            {"params": [*net[0].parameters(), *net[1].parameters()]},
            {"params": [*net[3].parameters(), *net[6].parameters()], "lr": 1e-3},
        ]
        drive(net, torch.optim.SGD(groups, lr=1e3), batches, own)
    one, other = bits(plain), bits(guarded)
    assert guard.hits == {"0": 1, "1.weight": 1, "1.bias": 1}
    for name in one:
        kept = name[0] in "36" or "running" in name or "num_batches" in name
        assert torch.equal(one[name], other[name]) == kept
    # The direction is the step's.
    start = network().state_dict()
    whole = (one["0.weight"] - start["0.weight"]).flatten()
    made = (other["0.weight"] - start["0.weight"]).flatten()
    assert float(torch.cosine_similarity(whole, made, dim=0)) == pytest.approx(1.0, abs=1e-5)


def test_by_unit_a_filter_moves_with_its_bias() -> None:
    model = network(torch.float64)
    before = bits(model)
    guard = guarding(StepLimit(by="unit"), model, torch.zeros(2, 2, 6, 6, dtype=torch.float64))
    drive(
        model,
        torch.optim.SGD(model.parameters(), lr=1e3),
        noise(1, 2, 6, 6, dtype=torch.float64),
        guard,
    )
    after = bits(model)
    step = {name: after[name] - before[name] for name in before}
    for filter_ in range(4):
        old = torch.cat([before["0.weight"][filter_].flatten(), before["0.bias"][filter_, None]])
        new = torch.cat([step["0.weight"][filter_].flatten(), step["0.bias"][filter_, None]])
        assert float(new.norm()) == pytest.approx(0.1 * max(float(old.norm()), FRESH[0] / 2))
    for filter_ in range(6):  # three filters a group, along the second axis
        group, place = divmod(filter_, 3)
        rows = slice(2 * group, 2 * group + 2)
        old = torch.cat(
            [before["3.weight"][rows, place].flatten(), before["3.bias"][filter_, None]]
        )
        new = torch.cat([step["3.weight"][rows, place].flatten(), step["3.bias"][filter_, None]])
        assert float(new.norm()) == pytest.approx(0.1 * max(float(old.norm()), FRESH[3] / 6**0.5))
    for entry in range(4):
        assert abs(float(step["1.weight"][entry])) <= 0.1 * (1 + 1e-9)


def test_by_network_there_is_one_share() -> None:
    model = network(torch.float64)
    before = bits(model)
    guard = guarding(StepLimit(by="network"), model, torch.zeros(2, 2, 6, 6, dtype=torch.float64))
    batches = noise(1, 2, 6, 6, dtype=torch.float64)
    drive(model, torch.optim.SGD(model.parameters(), lr=1e3), batches, guard)
    names = [name for group in GROUPS for name in group]
    made = math.sqrt(sum(float(((bits(model)[n] - before[n]) ** 2).sum()) for n in names))
    length = math.sqrt(sum(float((before[n] ** 2).sum()) for n in names))
    fresh = math.sqrt(sum(each * each for each in FRESH))
    assert made == pytest.approx(0.1 * max(length, fresh))
    assert guard.hits == {"network": 1}


def test_a_step_to_no_number_is_taken_back() -> None:
    model = network()
    before = bits(model)
    guard = guarding(StepLimit(), model, torch.zeros(2, 2, 6, 6))
    optimizer = torch.optim.RMSprop(
        model.parameters(), lr=0.0
    )  # its steps are not known beforehand
    x, y = noise(1, 2, 6, 6)[0]
    nn.functional.cross_entropy(model(x), y).backward()
    assert guard.before_step_(optimizer)
    with torch.no_grad():
        model[0].weight[1, 0, 0, 0] = math.nan
        model[6].bias[0] = math.inf
    guard.after_step_(optimizer)
    assert all(torch.equal(bits(model)[name], before[name]) for name in ("0.weight", "6.bias"))
    assert guard.hits == {"0": 1, "6": 1}


def test_what_was_counted_is_saved_and_goes_on() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e3)
    guard = guarding(StepLimit(), model, torch.zeros(2, 2, 6, 6))
    drive(model, optimizer, noise(2, 2, 6, 6), guard)
    saved = guard.state_dict()
    assert saved["hits"]["0"] == 2
    other = guarding(StepLimit(), model, torch.zeros(2, 2, 6, 6))
    other.load_state_dict(saved)
    drive(model, optimizer, noise(1, 2, 6, 6), other)
    assert other.hits["0"] == 3


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="fraction must be above 0, got 0"):
        StepLimit(fraction=0)
    with pytest.raises(ConfigError, match="by must be 'layer', 'unit' or 'network', got 'row'"):
        StepLimit(by="row")  # type: ignore[arg-type]
