"""Layers that pass next to nothing on are scaled, and no other: against float64, and on healthy networks."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from regrow.errors import ConfigError, TraceError
from regrow.nn import check_gain_


def bits(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def within(net: nn.Module, bound: float) -> nn.Module:
    """Drawn as in the regime of the long plateau."""
    for each in net.parameters():
        nn.init.uniform_(each, -bound, bound)
    return net


def plain(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 2, output_padding=1, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3 * 169, 16),
        nn.ReLU(),
        nn.Linear(16, 2),
    ).to(dtype)


LAYERS = (0, 2, 4, 7, 9)


def ratios(net: nn.Sequential, x: Tensor) -> list[float]:
    """By a pass of its own, with the bias taken out of a copy of each layer."""
    found = []
    with torch.no_grad():
        for layer in net:
            if hasattr(layer, "weight"):
                bare = copy.deepcopy(layer)
                nn.init.zeros_(bare.bias)  # type: ignore[arg-type]
                found.append(float(bare(x).square().mean().sqrt() / x.square().mean().sqrt()))
            x = layer(x)
    return found


def test_a_plateau_is_mended_from_the_input_on() -> None:
    net = within(plain(), 0.005)
    x = torch.rand(32, 1, 15, 15, dtype=torch.float64)
    before, start = ratios(net, x), bits(net)
    assert before[0] < 0.1
    report = check_gain_(net, x)
    after = ratios(net, x)
    assert after[:4] == pytest.approx([1.0] * 4)
    # Which factors: each layer of the scaled network, with the weights that it had.
    for place, number in enumerate(LAYERS[:4]):
        old = copy.deepcopy(net)
        old[number].weight.data.copy_(start[f"{number}.weight"])  # type: ignore[union-attr]
        factor = 1.0 / ratios(old, x)[place]
        assert report.layers[place].factor == pytest.approx(factor)
        torch.testing.assert_close(net[number].weight.detach(), start[f"{number}.weight"] * factor)
    # The head and all biases keep their bits.
    assert torch.equal(net[9].weight, start["9.weight"])
    assert report.layers[4].kept == "an output layer"
    assert all(torch.equal(net[n].bias, start[f"{n}.bias"]) for n in LAYERS)
    assert "4 of 5 layers scaled" in str(report)
    # Once is enough.
    again = bits(net)
    assert check_gain_(net, x).scaled == ()
    assert same(again, bits(net))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_other_types(dtype: torch.dtype) -> None:
    net = within(plain(), 0.005).to(dtype)
    x = torch.rand(32, 1, 15, 15).to(dtype)
    check_gain_(net, x)
    assert ratios(net, x)[:4] == pytest.approx([1.0] * 4, rel=0.02)


def test_too_much_is_scaled_down() -> None:
    net = plain()
    with torch.no_grad():
        net[2].weight.mul_(100.0)
    x = torch.rand(32, 1, 15, 15, dtype=torch.float64)
    (scaled,) = check_gain_(net, x).scaled
    assert scaled.path == "2"
    assert ratios(net, x)[1] == pytest.approx(1.0)


def actor() -> nn.Module:
    """As proximal policy optimisation begins: orthogonal, and a head of gain 0.01."""
    net = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))
    for layer, gain in ((net[0], 2**0.5), (net[2], 2**0.5), (net[4], 0.01)):
        nn.init.orthogonal_(layer.weight, gain)  # type: ignore[arg-type]
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return net


class Detector(nn.Module):
    """Two heads whose weights are drawn with a deviation of 0.001."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
        self.boxes, self.classes = nn.Conv2d(8, 4, 3), nn.Conv2d(8, 5, 3)
        for head in (self.boxes, self.classes):
            nn.init.normal_(head.weight, std=0.001)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.trunk(x)
        return {"boxes": self.boxes(x), "classes": self.classes(x)}


class Pre(nn.Module):
    """A transformer of width 16 with norms in front of its branches, drawn with a deviation of 0.02."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(3))
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16) for _ in range(4))
        self.up, self.down, self.head = nn.Linear(16, 64), nn.Linear(64, 16), nn.Linear(16, 7)
        for name, each in self.named_parameters():
            if name.endswith("weight") and "norms" not in name:
                nn.init.normal_(each, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norms[0](x)
        q, k, v = (
            each(h).unflatten(-1, (2, 8)).transpose(1, 2) for each in (self.q, self.k, self.v)
        )
        x = x + self.o(
            nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        )
        x = x + self.down(nn.functional.gelu(self.up(self.norms[1](x))))
        return self.head(self.norms[2](x))


class Branches(nn.Module):
    """Without norms, and the last layer of each branch begins near 0."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(8, 16), nn.Linear(16, 3)
        self.inner = nn.Linear(16, 16)
        self.last = nn.Linear(16, 16)
        nn.init.normal_(self.last.weight, std=1e-4)
        nn.init.normal_(self.inner.weight, std=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.last(torch.relu(self.inner(x))))


def with_norms() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 3),
    )  # fmt: skip
    return within(net, 0.001)


def trained() -> nn.Module:
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        x = torch.randn(32, 8)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), x[:, :3].argmax(1)).backward()
        optimizer.step()
    return net


def frozen() -> nn.Module:
    net = within(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), 0.001)
    net[0].weight.requires_grad_(False)  # type: ignore[index, union-attr]
    return net


class Tied(nn.Module):
    """One weight in two layers, and one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = (nn.Linear(8, 8) for _ in range(4))
        within(self, 0.001)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.b(torch.relu(self.a(x))))
        return self.head(torch.relu(self.c(torch.relu(self.c(x)))))


HEALTHY: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "an actor": (actor, (32, 8)),
    "a detector": (Detector, (4, 3, 9, 9)),
    "a transformer of width 16": (Pre, (4, 6, 16)),
    "torch's transformer of width 16": (
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), nn.Linear(16, 3)
        ),
        (4, 6, 16),
    ),
    "branches that begin near 0": (Branches, (16, 8)),
    "with norms": (with_norms, (8, 3, 8, 8)),
    "trained": (trained, (32, 8)),
    "frozen": (frozen, (32, 8)),
    "tied": (Tied, (32, 8)),
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_what_is_as_it_should_be_keeps_its_bits(kind: str) -> None:
    make, shape = HEALTHY[kind]
    torch.manual_seed(0)
    net = make()
    before = bits(net)
    report = check_gain_(net, torch.randn(shape))
    assert report.scaled == ()
    assert same(before, bits(net))


def test_the_model_is_otherwise_as_it_was() -> None:
    net = within(plain(torch.float32), 0.005)
    net = nn.Sequential(*net[:9], nn.Dropout(0.5), net[9])
    net.train()
    net[0].eval()
    x = torch.rand(8, 1, 15, 15)
    net(x).sum().backward()
    grads = [each.grad.clone() for each in net.parameters()]  # type: ignore[union-attr]
    flags, random, given = [m.training for m in net.modules()], torch.get_rng_state(), x.clone()
    assert check_gain_(net, x).scaled
    assert [m.training for m in net.modules()] == flags
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(x, given)
    assert all(torch.equal(a, b.grad) for a, b in zip(grads, net.parameters(), strict=True))
    assert not any(m._forward_pre_hooks for m in net.modules())


def test_a_silent_layer_is_passed_by() -> None:
    net = within(plain(), 0.005)
    with torch.no_grad():
        net[2].weight.zero_()
        net[2].bias.fill_(-1.0)  # nothing comes behind it, but for the next layer's bias
        net[4].bias.fill_(0.1)
    report = check_gain_(net, torch.rand(8, 1, 15, 15, dtype=torch.float64))
    assert not {"2", "4"} & {each.path for each in report.scaled}
    assert [each.ratio is None for each in report.layers] == [False, True, True, False, False]


def test_what_the_user_excludes() -> None:
    net = within(plain(), 0.005)
    before = bits(net)
    report = check_gain_(net, torch.rand(8, 1, 15, 15, dtype=torch.float64), exclude=["0", "7"])
    assert [each.path for each in report.scaled] == ["2", "4"]
    assert torch.equal(net[7].weight, before["7.weight"])
    with pytest.raises(ConfigError, match="exclude pattern 'conv' must match a layer"):
        check_gain_(net, torch.rand(8, 1, 15, 15, dtype=torch.float64), exclude=["conv"])


def test_companions_are_scaled_with_it() -> None:
    net = within(plain(), 0.005)
    average = torch.optim.swa_utils.AveragedModel(net)
    with torch.no_grad():
        average.module[2].weight.mul_(1.1)
    before = bits(average.module)
    named = dict(average.module.named_parameters())
    report = check_gain_(net, torch.rand(8, 1, 15, 15, dtype=torch.float64), companions=[named])
    for layer in report.layers:
        name = f"{layer.path}.weight"
        torch.testing.assert_close(named[name].detach(), before[name] * layer.factor)
    with pytest.raises(ConfigError, match="a companion must be a mapping from the model's names"):
        check_gain_(
            within(plain(), 0.005),
            torch.rand(8, 1, 15, 15, dtype=torch.float64),
            companions=[dict(average.named_parameters())],
        )


def test_ranks_scale_alike() -> None:
    """Two ranks with halves of a batch, told the mean over both, are one process with the whole batch."""
    x = torch.rand(16, 1, 15, 15, dtype=torch.float64)
    whole = within(plain(), 0.005)
    halves = [copy.deepcopy(whole), copy.deepcopy(whole)]
    sums: list[Tensor] = []

    def noted(mine: Tensor) -> Tensor:
        sums.append(mine.clone())
        return mine

    check_gain_(whole, x, reduce=noted)
    shares: list[list[Tensor]] = [[], []]

    def mean(rank: int) -> Callable[[Tensor], Tensor]:
        def reduce(mine: Tensor) -> Tensor:
            shares[rank].append(mine.clone())
            return sums[len(shares[rank]) - 1] / 2

        return reduce

    for rank, net in enumerate(halves):
        check_gain_(net, x[8 * rank : 8 * rank + 8], reduce=mean(rank))
        for n in LAYERS:
            torch.testing.assert_close(net[n].weight, whole[n].weight, rtol=1e-12, atol=0.0)
    # And what they were told is the mean of what they had.
    for total, first, second in zip(sums, *shares, strict=True):
        torch.testing.assert_close(first + second, total)


class Columns(nn.Module):
    """A layer as GPT-2's, which keeps filters as columns; it may have no bias."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(1e-3 * torch.randn(inputs, outputs))
        if bias:
            self.bias = nn.Parameter(torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + (self.bias if hasattr(self, "bias") else 0.0)


@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_of_another_class_is_scaled_and_gets_no_bias(*, bias: bool) -> None:
    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = Columns(6, 20, bias=bias), nn.Linear(20, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.relu(self.first(x=x)))

    torch.manual_seed(0)
    net, x = ByName(), torch.randn(50, 6)
    (scaled,) = check_gain_(net, x).scaled
    ratio = (x @ net.first.weight).square().mean().sqrt() / x.square().mean().sqrt()
    assert (scaled.path, float(ratio.detach())) == ("first", pytest.approx(1.0))
    assert [*net.first._parameters] == ["weight"] + ["bias"] * bias
    assert not bias or net.first.bias.tolist() == [1.0] * 20


def test_in_inference_mode_a_model_may_write_into_its_input() -> None:
    net = within(nn.Sequential(nn.ReLU(inplace=True), *plain(torch.float32)), 0.005)
    with torch.inference_mode():
        report = check_gain_(net, torch.rand(8, 1, 15, 15))
    assert [each.path for each in report.scaled] == ["1", "3", "5", "8"]


def test_what_cannot_be_is_refused_and_nothing_is_changed() -> None:
    net = within(plain(), 0.005)
    x = torch.rand(8, 1, 15, 15, dtype=torch.float64)
    with pytest.raises(ConfigError, match=r"low must be above 0, got 0 \(check_gain_\)"):
        check_gain_(net, x, low=0)
    with pytest.raises(ConfigError, match=r"high must be above low=0.1, got 0.05"):
        check_gain_(net, x, high=0.05)
    net[7].weight.data[0, 0] = float("nan")  # type: ignore[union-attr]
    before = bits(net)
    with pytest.raises(TraceError, match="numbers must be finite; what '7' takes or gives is not"):
        check_gain_(net, x)
    assert torch.equal(net[0].weight, before["0.weight"])
