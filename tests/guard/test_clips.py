"""The rivals of the step limit, each as it was published."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from guard.driving import bits, drive, guarding, noise, same_bits
from regrow.errors import ConfigError
from regrow.guard import AdaptiveClip, NormClip, WeightClip


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 6, 2, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 25, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    ).to(dtype)


def units(net: nn.Sequential) -> list[tuple[str, list[tuple[object, ...]]]]:
    """Of each parameter the places of its units, said by what the layers compute."""
    whole: list[tuple[object, ...]] = [(...,)]
    grouped = [(slice(2 * (unit // 3), 2 * (unit // 3) + 2), unit % 3) for unit in range(6)]
    found = [(name, whole) for name, each in net.named_parameters() if each.ndim == 1]
    found.append(("0.weight", [(unit,) for unit in range(4)]))
    found.append(
        ("3.weight", grouped)
    )  # torch has a transposed convolution's filters in the second axis
    found.append(("6.weight", [(unit,) for unit in range(5)]))
    found.append(("8.weight", [(unit,) for unit in range(3)]))
    return found


@pytest.mark.parametrize("heads", [False, True])
def test_each_unit_is_clipped_by_its_own_length(*, heads: bool) -> None:
    net = network()
    with torch.no_grad():
        net[6].weight[2] = 0.0  # as long as the least length
    x, y = noise(1, 2, 6, 6, dtype=torch.float64)[0]
    (0.1 * nn.functional.cross_entropy(net(x), y)).backward()
    grads = {name: each.grad.clone() for name, each in net.named_parameters()}  # type: ignore[union-attr]
    clip = AdaptiveClip(clip=0.01, heads=heads)
    guard = guarding(clip, net, torch.zeros(2, 2, 6, 6, dtype=torch.float64))
    assert guard.before_step_(torch.optim.SGD(net.parameters(), lr=0.1))
    named = dict(net.named_parameters())
    hit: set[str] = set()
    for name, places in units(net):
        expected = grads[name].clone()
        for place in places:
            length = max(math.sqrt(float((named[name].detach()[place] ** 2).sum())), 1e-3)
            slope = math.sqrt(float((grads[name][place] ** 2).sum()))
            if slope > 0.01 * length and (heads or name[0] != "8"):
                expected[place] *= 0.01 * length / slope
                hit.add(name if name[0] == "1" else name[0])
        torch.testing.assert_close(named[name].grad, expected, rtol=1e-9, atol=0.0)
    assert hit == set(guard.hits)
    assert "6" in hit
    assert ("8" in hit) == heads


def test_adaptive_clip_leaves_small_gradients_as_they_are() -> None:
    plain, clipped = network(torch.float32), network(torch.float32)
    batches = noise(5, 2, 6, 6)
    guard = guarding(AdaptiveClip(clip=1e6), clipped, torch.zeros(2, 2, 6, 6))
    drive(plain, torch.optim.SGD(plain.parameters(), lr=0.1), batches)
    drive(clipped, torch.optim.SGD(clipped.parameters(), lr=0.1), batches, guard)
    assert same_bits(bits(plain), bits(clipped))
    assert guard.hits == {}


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_norm_clip_is_torch_s(max_norm: float) -> None:
    mine, theirs = network(torch.float32), network(torch.float32)
    batches = noise(6, 2, 6, 6)
    guard = guarding(NormClip(max_norm=max_norm), mine, torch.zeros(2, 2, 6, 6))
    drive(mine, torch.optim.SGD(mine.parameters(), lr=0.1), batches, guard)

    norms: list[float] = []

    def clip(step: int) -> None:
        del step
        norms.append(float(torch.nn.utils.clip_grad_norm_(theirs.parameters(), max_norm)))

    drive(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1), batches, spoil=clip)
    for name, value in bits(mine).items():
        torch.testing.assert_close(value, bits(theirs)[name], rtol=1e-5, atol=1e-7)
    beyond = sum(norm > max_norm for norm in norms)
    assert (beyond > 0) == (max_norm < 1)
    assert guard.hits == ({"network": beyond} if beyond else {})


def test_weights_stay_within_their_bounds() -> None:
    net = network()
    guard = guarding(WeightClip(multiple=1.0), net, torch.zeros(2, 2, 6, 6, dtype=torch.float64))
    free = network()
    batches = noise(1, 2, 6, 6, dtype=torch.float64)
    drive(net, torch.optim.SGD(net.parameters(), lr=50.0), batches, guard)
    drive(free, torch.optim.SGD(free.parameters(), lr=50.0), batches)
    # Numbers of one filter: what a unit of the layer multiplies.
    bounds = {"0": 9**-0.5, "3": 8**-0.5, "6": 150**-0.5, "8": 5**-0.5}
    loose: dict[str, Tensor] = bits(free)
    for name, value in bits(net).items():
        if name[0] in bounds:
            torch.testing.assert_close(value, loose[name].clamp(-bounds[name[0]], bounds[name[0]]))
        else:
            assert torch.equal(value, loose[name])
    assert set(guard.hits) == {
        name[0]
        for name, value in loose.items()
        if bool((value.abs() > bounds.get(name[0], math.inf)).any())
    }


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: AdaptiveClip(clip=0.0), r"clip must be above 0, got 0.0 \(adaptive clip\)"),
        (lambda: AdaptiveClip(eps=-1.0), "eps must be above 0"),
        (lambda: NormClip(max_norm=math.inf), r"max_norm must be above 0, got inf \(norm clip\)"),
        (lambda: WeightClip(multiple=0), "multiple must be above 0"),
    ],
)
def test_wrong_settings_are_refused(make: object, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()  # type: ignore[operator]
