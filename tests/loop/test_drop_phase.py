"""While filters are out, the network is the smaller one: the same function, trained the same way."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from crossed import crossed
from regrow.selection import Selection
from traced import attach_traced

CLASSES = 3
GONE = {"a": (1, 4), "b": (0,)}
"""What is dropped: of the first layer and of the second."""


class Plain(nn.Module):
    """Two convolutions, with or without a norm behind them, and an activation that may not be 0 at 0."""

    def __init__(
        self, widths: tuple[int, int], *, norm: bool, act: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, widths[0], 3, padding=1)
        self.na = nn.BatchNorm2d(widths[0]) if norm else nn.Identity()
        self.b = nn.Conv2d(widths[0], widths[1], 3)
        self.nb = nn.BatchNorm2d(widths[1]) if norm else nn.Identity()
        self.head = nn.Linear(widths[1] * 16, CLASSES)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.na(self.a(x)))
        return self.head(self.act(self.nb(self.b(x))).flatten(1))


class Residual(nn.Module):
    """A block on a stream of six channels; where the second layer is narrower, what it lacks adds nothing."""

    def __init__(self, widths: tuple[int, int], *, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.a = nn.Conv2d(6, widths[0], 3, padding=1, bias=False)
        self.na = nn.BatchNorm2d(widths[0])
        self.b = nn.Conv2d(widths[0], widths[1], 3, padding=1, bias=False)
        self.nb = nn.BatchNorm2d(widths[1])
        self.head = nn.Linear(6 * 36, CLASSES)
        self.channels = list(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = self.nb(self.b(F.relu(self.na(self.a(x)))))
        room = torch.zeros_like(x)
        room[:, self.channels] = y
        return self.head(F.relu(x + room).flatten(1))


class Depthwise(nn.Module):
    """A depthwise layer in between, without norms: its filters have no input where those that they read are gone."""

    def __init__(self, widths: tuple[int, int]) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, widths[0], 3, padding=1)
        self.d = nn.Conv2d(widths[0], widths[0], 3, padding=1, groups=widths[0])
        self.b = nn.Conv2d(widths[0], widths[1], 3)
        self.head = nn.Linear(widths[1] * 16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sigmoid(self.d(torch.sigmoid(self.a(x))))
        return self.head(torch.sigmoid(self.b(x)).flatten(1))


class Transposed(nn.Module):
    """A transposed convolution, which keeps its filters in the second axis, and reads along the first."""

    def __init__(self, widths: tuple[int, int]) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, widths[0], 3, stride=2, padding=1)
        self.b = nn.ConvTranspose2d(widths[0], widths[1], 2)
        self.head = nn.Linear(widths[1] * 16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.sigmoid(self.b(torch.sigmoid(self.a(x)))).flatten(1))


def _left(layer: str, count: int) -> list[int]:
    return [index for index in range(count) if index not in GONE[layer]]


def _copy_smaller(whole: nn.Module, small: nn.Module) -> None:
    """What survives of a network, into the network that has nothing else."""
    named = dict(whole.named_parameters())
    with torch.no_grad():
        for name, target in small.named_parameters():
            target.copy_(_surviving(name, named[name], target.shape))


CASES = {
    "norm and relu": lambda widths: Plain(widths, norm=True, act=F.relu),
    "gelu without norm": lambda widths: Plain(widths, norm=False, act=F.gelu),
    "sigmoid, which is not 0 at 0": lambda widths: Plain(widths, norm=True, act=torch.sigmoid),
    "depthwise": Depthwise,
    "transposed": Transposed,
    "residual": lambda widths: Residual(
        widths, channels=tuple(_left("b", 6) if widths[1] < 6 else range(6))
    ),
}
OPTIMIZERS = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=0.01),
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda params: torch.optim.RMSprop(params, lr=0.005, momentum=0.5, centered=True),
}


def _batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 2, 6, 6, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, CLASSES, (8,), generator=generator)


def _train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x, y = _batch(step)
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        nn.utils.clip_grad_norm_(
            net.parameters(), 0.3
        )  # a norm over what is there, and nothing else
        optimizer.step()


def _dropping(**told: object) -> regrow.Recipe:
    """RePr, but who leaves is fixed."""
    recipe = regrow.RePr(s1=4, s2=6, cycles=1, unit="steps", **told)  # type: ignore[arg-type]

    class Fixed(Selection):
        def __call__(
            self, scores: dict[str, Tensor], *, eligible: object, step: int
        ) -> dict[str, Tensor]:
            masks = {
                layer: torch.zeros(len(values), dtype=torch.bool)
                for layer, values in scores.items()
            }
            for layer in masks.keys() & GONE.keys():
                masks[layer][list(GONE[layer])] = True
            return masks

    return recipe.with_parts(select=Fixed())


@pytest.mark.parametrize(("case", "optimizer"), crossed(CASES, OPTIMIZERS))
def test_the_drop_phase_is_the_smaller_network(case: str, optimizer: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = CASES[case]((6, 6)).double()
        small = CASES[case]((4, 5)).double()
    big = OPTIMIZERS[optimizer](whole.parameters())
    regrower = attach_traced(
        *(_dropping(), whole, big),
        example_inputs=_batch(0)[0],
        layers=("conv", "conv_transpose"),
    )
    _train(whole, big, range(4))
    assert regrower.report.resting == GONE
    # The smaller network goes on from here with what survives, and with the memory of it.
    _copy_smaller(whole, small)
    for name, buffer in small.named_buffers():
        full = dict(whole.named_buffers())[name]
        layer = {"na": "a", "nb": "b"}[name.partition(".")[0]]
        buffer.copy_(full if full.ndim == 0 else full[_left(layer, 6)])
    little = OPTIMIZERS[optimizer](small.parameters())
    _adopt_memory(whole, big, small, little)
    for step in range(4, 9):
        x, _ = _batch(100 + step)
        torch.testing.assert_close(whole(x), small(x), rtol=1e-9, atol=1e-9)
        _train(whole, big, range(step, step + 1))
        _train(small, little, range(step, step + 1))
    whole.eval()
    small.eval()
    torch.testing.assert_close(whole(x), small(x), rtol=1e-9, atol=1e-9)
    assert regrower.report.resting == GONE
    for layer, gone in GONE.items():
        weight = whole.get_parameter(f"{layer}.weight")
        is_transposed = isinstance(whole.get_submodule(layer), nn.ConvTranspose2d)
        assert not (weight.transpose(0, 1) if is_transposed else weight)[list(gone)].any()


def _adopt_memory(
    whole: nn.Module, big: torch.optim.Optimizer, small: nn.Module, little: torch.optim.Optimizer
) -> None:
    """One step with zero gradients makes the state; then each entry is what survives of the bigger one's."""
    for parameter in small.parameters():
        parameter.grad = torch.zeros_like(parameter)
    kept = [parameter.detach().clone() for parameter in small.parameters()]
    little.step()
    with torch.no_grad():
        for parameter, value in zip(small.parameters(), kept, strict=True):
            parameter.copy_(value)
    names = dict(whole.named_parameters())
    keys = {key for parameter in small.parameters() for key in little.state[parameter]}
    for key in keys:
        values = {name: big.state[parameter][key] for name, parameter in names.items()}
        if all(value.ndim == 0 for value in values.values()):
            for name, parameter in small.named_parameters():
                little.state[parameter][key] = values[name].clone()
            continue
        for name, parameter in small.named_parameters():
            little.state[parameter][key] = _surviving(name, values[name], parameter.shape).clone()


def _surviving(name: str, value: Tensor, shape: torch.Size) -> Tensor:
    path = name.rpartition(".")[0]
    if value.shape == shape:
        return value
    if path in {"a", "na", "d"}:
        return value[_left("a", 6)]
    if path == "nb" or name == "b.bias":
        return value[_left("b", 6)]
    if path == "b" and shape[0] == len(_left("a", 6)):  # transposed
        return value[_left("a", 6)][:, _left("b", 6)]
    if path == "b":
        return value[_left("b", 6)][:, _left("a", 6)]
    return value.unflatten(1, (6, -1))[:, _left("b", 6)].flatten(1)
