"""A filter that is out adds 0 wherever others are added: its layer is dropped exactly, or left alone by name."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from contract.rows import VARIANTS
from crossed import crossed, seldom
from regrow.errors import ConfigError
from traced import attach_traced

WIDTH = 6
DROPPING = seldom(
    [name for name, row in VARIANTS.items() if row.make(**row.acts).drop],
    often=("repr", "repr by activations"),
)


class FrozenNorm(nn.Module):
    """A norm whose scale, shift and statistics are buffers; other numbers are loaded into them later."""

    def __init__(self) -> None:
        super().__init__()
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            self.register_buffer(name, torch.full((WIDTH,), float(value)))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class Affine(nn.Module):
    """A scale and a shift that are learned, and begin as nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.shift = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale[:, None, None] + self.shift[:, None, None]


class Scale(nn.Module):
    """LayerScale."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((WIDTH, 1, 1), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _squares_norm(x: Tensor) -> Tensor:
    return x / (x.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()


def _in_place(x: Tensor) -> Tensor:
    return x.clone().mul_(2.0).relu_()


def _late(x: Tensor) -> Tensor:
    left = x.clone()
    left[:, :, 1:] += 0.5
    return left


GONE: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "prelu": lambda: nn.PReLU(WIDTH),
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "batch norm": lambda: nn.BatchNorm2d(WIDTH),
    "batch norm without entries": lambda: nn.BatchNorm2d(WIDTH, affine=False),
    "instance norm": lambda: nn.InstanceNorm2d(WIDTH, affine=True),
    "sigmoid, then batch norm": lambda: nn.Sequential(nn.Sigmoid(), nn.BatchNorm2d(WIDTH)),
    "layer scale": Scale,
    "max pool": lambda: nn.MaxPool2d(3, 1, 1),
    "average pool": lambda: nn.AvgPool2d(3, 1, 1),
    "swish by hand": lambda: Function(lambda x: x * torch.sigmoid(x)),
    "norm by hand": lambda: Function(_squares_norm),
    "branch by hand": lambda: Function(lambda x: torch.where(x > 0, x, 0.1 * x)),
    "in place": lambda: Function(_in_place),
}
"""What gives 0 for 0, or is 0 with its filters: nobody is left alone for it."""

LEFT: dict[str, Callable[[], nn.Module]] = {
    "frozen norm": FrozenNorm,
    "affine": Affine,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "hardsigmoid": nn.Hardsigmoid,
    "cosine": lambda: Function(torch.cos),
    "one more": lambda: Function(lambda x: x + 1),
    "more at some places": lambda: Function(_late),
    "at least": lambda: Function(lambda x: x.clamp(min=0.2)),
    "norm over positions": lambda: nn.LayerNorm(5),
    "batch norm, then sigmoid": lambda: nn.Sequential(nn.BatchNorm2d(WIDTH), nn.Sigmoid()),
}
"""What leaves something else of 0."""

OFTEN_GONE = {
    *("gelu", "prelu", "batch norm", "instance norm", "sigmoid, then batch norm", "layer scale"),
    *("max pool", "norm by hand", "branch by hand", "in place"),
}
OFTEN_LEFT = {"frozen norm", "sigmoid", "one more", "norm over positions"}
"""The others are near relatives of these."""


class Net(nn.Module):
    """Layers a and b write into one stream through a piece each; layer c, through a third, writes alone."""

    def __init__(self, piece: Callable[[], nn.Module], *, table: bool = False) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.pa = piece()
        self.b = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.pb = piece()
        self.c = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.pc = piece()
        self.table = nn.Parameter(torch.rand(WIDTH, 5, 5)) if table else None
        self.head = nn.Linear(WIDTH * 25, 3)

    def forward(self, x: Tensor, gone: Mapping[str, Sequence[int]] | None = None) -> Tensor:
        """As it is; with `gone`, filters are taken out of what they give at the place where it is read or summed."""
        out = {} if gone is None else gone
        x = _without(self.pa(self.a(x)), out.get("a", ()))
        y = _without(self.pb(self.b(x)), out.get("b", ()))
        x = x + y if self.table is None else x + (y + self.table)
        x = _without(self.pc(self.c(x)), out.get("c", ()))
        return self.head(x.flatten(1))


def _without(x: Tensor, filters: Sequence[int]) -> Tensor:
    index = torch.tensor(filters, dtype=torch.int64)
    return x.index_fill(1, index, 0.0) if len(filters) else x


def _batch(step: int) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(step)
    return torch.randn(8, 1, 5, 5, generator=drawn, dtype=torch.float64), torch.arange(8) % 3


def _recipe(name: str) -> regrow.Recipe:
    row = VARIANTS[name]
    return row.make(**{**row.acts, "fraction": 0.5})


def _amid_a_drop(name: str, net: Net, **told: Any) -> tuple[Net, regrow.Regrower]:
    """Trained until filters are out, and on for a step."""
    net = net.double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    images, labels = _batch(99)
    told.setdefault("example_inputs", images[:2])
    regrower = regrow.attach(
        _recipe(name),
        net,
        optimizer,
        total_steps=20,
        calibration_inputs=images,
        calibration_targets=labels,
        **told,
    )
    drawn = torch.Generator().manual_seed(3)
    for place, buffer in net.named_buffers():
        if isinstance(net.get_submodule(place.rpartition(".")[0]), FrozenNorm):
            buffer.copy_(0.5 + torch.rand(WIDTH, generator=drawn))
    after = 0
    for step in range(10):
        images, labels = _batch(step)
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()
        after += bool(regrower.report.resting)
        if after == 2:
            return net, regrower
    raise AssertionError("nothing was dropped")


def _assert_smaller(net: Net, gone: Mapping[str, Sequence[int]]) -> None:
    """Whatever the filters that are out would give: without it the network gives the same."""
    whole = copy.deepcopy(net)
    with torch.no_grad():
        for layer, filters in gone.items():
            whole.get_submodule(layer).weight[list(filters)] = 1.7
            whole.get_submodule(layer).bias[list(filters)] = -0.4
    images, _ = _batch(77)
    for training in (True, False):
        here, there = copy.deepcopy(net).train(training), copy.deepcopy(whole).train(training)
        torch.testing.assert_close(here(images), there(images, gone), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("recipe", "piece"), crossed(DROPPING, ["gelu", "frozen norm"]))
def test_every_recipe_that_drops(recipe: str, piece: str) -> None:
    net, regrower = _amid_a_drop(recipe, Net({**GONE, **LEFT}[piece]))
    assert set(regrower.report.layers) == ({"a", "b", "c"} if piece in GONE else {"c"})
    _assert_smaller(net, regrower.report.resting)


@pytest.mark.parametrize("piece", seldom(GONE, often=OFTEN_GONE))
def test_what_gives_0_for_0_is_dropped(piece: str) -> None:
    net, regrower = _amid_a_drop("repr by random", Net(GONE[piece]))
    assert set(regrower.report.layers) == {"a", "b", "c"}
    assert not any("never dropped" in note for note in regrower.report.notes)
    _assert_smaller(net, regrower.report.resting)


@pytest.mark.parametrize("piece", seldom(LEFT, often=OFTEN_LEFT))
def test_who_would_leave_something_is_left_alone_by_name(piece: str) -> None:
    """In their own channels they are dropped all the same: who reads those reads nothing then."""
    net, regrower = _amid_a_drop("repr by random", Net(LEFT[piece]))
    assert set(regrower.report.layers) == {"c"}
    for layer in ("a", "b"):
        assert any(note.startswith(f"{layer}: never dropped") for note in regrower.report.notes)
    _assert_smaller(net, regrower.report.resting)


@pytest.mark.parametrize("piece", ["frozen norm", "affine", "sigmoid", "gelu"])
def test_a_stream_that_leaves_whole_leaves_nothing(piece: str) -> None:
    net, regrower = _amid_a_drop("repr by random", Net({**GONE, **LEFT}[piece]), coupled="stream")
    assert set(regrower.report.layers) == {"a", "b", "c"}
    _assert_smaller(net, regrower.report.resting)


def test_a_table_of_numbers_stays_and_nothing_else() -> None:
    net, regrower = _amid_a_drop("repr by random", Net(nn.GELU, table=True))
    assert set(regrower.report.layers) == {"a", "b", "c"}
    _assert_smaller(net, regrower.report.resting)


def test_a_wiring_knows_it_without_an_example() -> None:
    net = Net(nn.Sigmoid)
    wiring = regrow.trace(net, torch.zeros(2, 1, 5, 5))
    told = {"wiring": wiring, "example_inputs": None}
    net, regrower = _amid_a_drop("repr by random", net, **told)
    assert set(regrower.report.layers) == {"c"}
    assert wiring["a"].offset == "sigmoid in 'pa'"


def test_a_group_whose_mean_is_subtracted_makes_something_of_0() -> None:
    wiring = regrow.trace(
        Net(lambda: nn.GroupNorm(2, WIDTH, affine=False)), torch.zeros(2, 1, 5, 5)
    )
    assert wiring["a"].offset == "native_group_norm in 'pa'"


class Twice(nn.Module):
    """One norm behind two layers: its entries are 0 only with both."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1)
        self.norm, self.head = nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.a(x)) + self.norm(self.b(x)).relu()).mean((2, 3))


class Depthwise(nn.Module):
    """Layer d goes out with the filters that it hears, and its shift is heard on the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1)
        self.d, self.shift = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Parameter(torch.zeros(4))
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.d(self.a(x).relu()) + self.shift[:, None, None]).mean((2, 3))


@pytest.mark.parametrize(("net", "left"), [(Twice, {"a", "b"}), (Depthwise, set())])
def test_who_goes_out_with_others(net: type[nn.Module], left: set[str]) -> None:
    """Behind the sum the shift is the channel's own, and there is nothing to hear."""
    wiring = regrow.trace(net(), torch.zeros(2, 1, 5, 5))
    assert {layer.path for layer in wiring.layers if layer.offset} == left


class Before(Depthwise):
    """The same with the shift before the sum."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.d(self.a(x).relu()) + self.shift[:, None, None]
        return self.head(x + y).mean((2, 3))


def test_a_depthwise_layer_takes_the_layer_before_it_along() -> None:
    wiring = regrow.trace(Before(), torch.zeros(2, 1, 5, 5))
    assert {layer.path for layer in wiring.layers if layer.offset} == {"a", "d"}


def test_where_all_would_leave_something_attach_says_so() -> None:
    net = Net(nn.Sigmoid)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ConfigError, match=r"may drop: a: never dropped.*sigmoid in 'pa'"):
        attach_traced(
            regrow.RePr(s1=2, s2=2, cycles=1, unit="steps"),
            net,
            optimizer,
            example_inputs=torch.zeros(2, 1, 5, 5),
            total_steps=9,
            exclude=["c"],
        )


class ManyCauses(nn.Module):
    """Each of several functions leaves something of the same filters."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        left = y.sigmoid() + y.exp() + y.cos() + y.cosh() + nn.functional.softplus(y) + y.acos()
        return self.head(self.b(x) + left).mean((2, 3))


def test_of_several_causes_always_the_same_one_is_named() -> None:
    """Whatever order a process has sets of texts in."""
    wiring = regrow.trace(ManyCauses(), torch.zeros(2, 1, 5, 5))
    assert wiring["a"].offset == "acos in the model's own forward"
