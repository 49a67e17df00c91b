"""Renewals that keep the network's output: exactly, by rounding, or within what is reported."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import regrow
from crossed import seldom
from graph.nets import Forward, conv_bn_pool, crater, one_dimension, resnet, transposed
from regrow.compose import Recipe, RecipeInfo
from regrow.criteria import RandomScore
from regrow.errors import ConfigError
from regrow.loop.start.initialisers import resolve_layers
from regrow.renewal import Redraw
from regrow.schedule import Every
from regrow.selection import CountsOf
from traced import attach_traced

X = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
INFO = RecipeInfo(name="test", title="", paper="", year=2026, url="", summary="", differs=())


def _recipe(layer: str, count: int = 2, **renew: object) -> Recipe:
    """Renews that many filters of one layer, picked at random, at every step."""
    return Recipe(
        info=INFO,
        criterion=RandomScore(),
        select=CountsOf(counts={(step, layer): count for step in range(9)}),
        renew=Redraw(preserve=True, **renew),  # type: ignore[arg-type]
        when=Every(steps=1),
    )


def _made(make: Callable[[], nn.Module]) -> nn.Module:
    """In float64, with norm entries that hide nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = make().double()
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                for tensor in (module.weight, module.running_var):
                    nn.init.uniform_(tensor, 0.5, 1.5)
                for tensor in (module.bias, module.running_mean):
                    nn.init.normal_(tensor)
    return net


def _output(net: nn.Module, x: Tensor = X) -> Tensor:
    net.eval()
    with torch.no_grad():
        return net(x)


def _renew(net: nn.Module, recipe: Recipe, x: Tensor = X, **told: object) -> regrow.Regrower:
    """One renewal without an optimizer's step: the learning rate is 0."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    regrower = attach_traced(
        recipe,
        net,
        optimizer,
        example_inputs=x[:2],
        calibration_inputs=x,
        layers=("conv", "conv_transpose", "linear"),
        **told,  # type: ignore[arg-type]
    )
    net.eval()
    net(x).sum().backward()
    optimizer.step()
    return regrower


def _silence(net: nn.Module, norm: str, shift: float) -> None:
    """Every filter behind this norm becomes constant on all inputs: ``relu(shift)``."""
    with torch.no_grad():
        net.get_parameter(f"{norm}.weight").zero_()
        net.get_parameter(f"{norm}.bias").fill_(shift)


CASES = {
    "crater": (crater, "0"),
    "crater, flattened": (crater, "2"),
    "crater, linear": (crater, "5"),
    "norm and pool": (conv_bn_pool, "0"),
    "norm and mean": (conv_bn_pool, "4"),
    "block": (resnet, "2.conv1"),
    "one dimension": (one_dimension, "0"),
    "transposed": (transposed, "2"),
}


def _case(name: str) -> tuple[nn.Module, str, Tensor]:
    make, layer = CASES[name]
    return _made(make), layer, X[:, :, 0] if name == "one dimension" else X


@pytest.mark.parametrize("name", seldom(CASES, often=list(CASES)[::2]))
def test_a_silent_filter_goes_without_any_change(name: str) -> None:
    """Every filter of the layer gives 0 on the data, behind its ReLU; all bits of the output stay."""
    net, layer, x = _case(name)
    with torch.no_grad():
        net.get_parameter(f"{layer}.weight").zero_()
        if f"{layer}.bias" in dict(net.named_parameters()):
            net.get_parameter(f"{layer}.bias").fill_(-1.0)
        for norm in regrow.trace(net, x[:2])[layer].norms:
            assert norm.running_mean is not None
            net.get_buffer(norm.running_mean).zero_()
            net.get_parameter(str(norm.bias)).fill_(-5.0)
    if name in {"norm and mean", "transposed"}:
        pytest.skip("no ReLU behind this norm: its filters cannot be silent")
    before = _output(net, x)
    regrower = _renew(net, _recipe(layer), x)
    assert torch.equal(_output(net, x), before)
    assert [event.change for event in regrower.report.events] == [0.0]
    assert "moved the output by 0.0e+00" in str(regrower.report)


@pytest.mark.parametrize("name", seldom(CASES, often=list(CASES)[1::2]))
def test_the_change_of_a_living_filter_is_measured_and_small(name: str) -> None:
    """Against the same renewal that only zeroes the readers."""
    net, layer, x = _case(name)
    before = _output(net, x)
    (event,) = _renew(net, _recipe(layer, 4), x).report.events
    moved = (_output(net, x) - before).abs().amax() / before.abs().amax()
    assert event.change == pytest.approx(moved.item())
    assert 0 < event.change < 1.5


@pytest.mark.parametrize(
    "reader",
    [
        nn.Conv2d(4, 5, 3),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 6, 3, groups=2, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(4, 6, 1, groups=2),
        nn.Sequential(nn.Flatten(), nn.Linear(4 * 36, 5)),
        nn.Sequential(nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5)),
        nn.Sequential(nn.ConvTranspose2d(4, 6, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
    ],
)
def test_a_constant_filter_goes_by_rounding_only(reader: nn.Module) -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
            *(reader, nn.Tanh(), nn.Flatten(), nn.LazyLinear(3)),
        )

    net = make()
    net(X.float())
    net = net.double()
    _silence(net, "1", 0.7)
    before = _output(net)
    changed = _renew(net, _recipe("0", 3)).report.events[0].change
    assert changed is not None
    assert changed < 1e-14
    torch.testing.assert_close(_output(net), before, rtol=1e-13, atol=1e-13)
    weight = net.get_parameter("3.weight") if "3.weight" in dict(net.named_parameters()) else None
    if isinstance(reader, nn.Conv2d) and reader.groups == 1:
        assert weight is not None
        assert (weight.abs().sum((0, 2, 3)) == 0).sum() == 3


def test_zero_padding_changes_the_border_and_nothing_else() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        return net.b(torch.relu(net.norm(net.a(x))))

    net = Forward(
        run,
        a=nn.Conv2d(3, 4, 3),
        norm=nn.BatchNorm2d(4),
        b=nn.Conv2d(4, 5, 3, padding=1),
    ).double()
    _silence(net, "norm", 0.7)
    before = _output(net)
    (event,) = _renew(net, _recipe("a")).report.events
    after = _output(net)
    torch.testing.assert_close(after[..., 1:-1, 1:-1], before[..., 1:-1, 1:-1])
    assert not torch.allclose(after[..., 0, 0], before[..., 0, 0])
    assert event.change is not None
    assert event.change > 1e-3


def test_the_mean_goes_into_the_bias_without_disturbing_its_momentum() -> None:
    net = _made(crater)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    recipe = Recipe(
        info=INFO,
        criterion=RandomScore(),
        select=CountsOf(counts={(2, "0"): 1}),
        renew=Redraw(preserve=True),
        when=Every(steps=1),
    )
    attach_traced(recipe, net, optimizer, example_inputs=X[:2], calibration_inputs=X)
    for _ in range(3):
        optimizer.zero_grad()
        net(X).square().sum().backward()
        optimizer.step()
    momentum = optimizer.state[net.get_parameter("2.bias")]["momentum_buffer"]
    assert (momentum != 0).all()


def test_what_cannot_be_kept_is_noted() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = torch.relu(net.a(x))
        y = nn.functional.conv2d(x, net.b.weight, net.b.bias)
        return net.c(x) + y

    net = Forward(
        run, a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 5, 3), c=nn.Conv2d(4, 5, 3, bias=False)
    ).double()
    kept = net.get_parameter("b.weight").detach().clone()
    regrower = _renew(net, _recipe("a"))
    notes = " | ".join(regrower.report.notes)
    assert "a: kept in b, never called as a module" in notes
    assert "a: its mean is lost in c, without a bias or a running mean behind" in notes
    assert torch.equal(net.get_parameter("b.weight"), kept)
    coupled = _renew(_made(resnet), _recipe("2.conv2"))
    assert "2.conv2: kept in 3.conv1, 3.down.0" in str(coupled.report)


class _Twice(nn.Module):
    """A reader that hears the constant filters of `a` in more than one place, or is heard in more than one."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.b = nn.Conv2d(4, 4, 3, bias=kind not in {"shortcut", "in place"})
        self.c = nn.Conv2d(4, 4, 3)
        if kind == "tied":
            self.c.weight = self.b.weight
        self.after, self.leaky = nn.BatchNorm2d(4), nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.a(x)))
        y = self.b(h)
        if self.kind == "tied":
            return y + self.c(h)
        if self.kind == "functional":
            return y + nn.functional.conv2d(2 * h, self.b.weight)
        if self.kind == "shortcut":
            return self.after(y) + 3 * y
        return self.after(self.leaky(y))


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("tied", "a: kept in b, whose weight is used by c too"),
        ("functional", "a: kept in b, whose weight is used by the model's own forward too"),
        ("shortcut", "its mean is lost in b, without a bias or a running mean behind"),
        ("in place", "its mean is lost in b, without a bias or a running mean behind"),
    ],
)
def test_a_reader_whose_bias_does_not_say_it_all_is_kept_or_noted(kind: str, note: str) -> None:
    net = _made(lambda: _Twice(kind))
    _silence(net, "norm", 0.7)
    told = {name: value.clone() for name, value in net.state_dict().items()}
    regrower = _renew(net, _recipe("a"))
    assert any(note in each for each in regrower.report.notes)
    kept = kind in {"tied", "functional"}
    assert torch.equal(net.get_parameter("b.weight"), told["b.weight"]) == kept
    assert torch.equal(net.get_buffer("after.running_mean"), told["after.running_mean"])


def test_group_statistics_and_depthwise_readers_are_noted() -> None:
    net = _made(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    )
    notes = " ".join(_renew(net, _recipe("0")).report.notes)
    assert "0: a renewal moves other channels too, and with them the output, through" in notes

    def mobile() -> nn.Module:
        depthwise = nn.Conv2d(4, 4, 3, groups=4, bias=False)
        return nn.Sequential(
            *(nn.Conv2d(3, 4, 1), nn.ReLU(), depthwise, nn.BatchNorm2d(4), nn.ReLU()),
            nn.Conv2d(4, 2, 1),
        )

    notes = " ".join(_renew(_made(mobile), _recipe("0")).report.notes)
    assert "0: cut off in 2, a depthwise layer with a batch norm behind" in notes


def test_inside_autocast_the_change_is_still_the_true_one() -> None:
    """Autocast keeps its copies of the weights while it is on."""
    net = _made(crater).float()
    x = X.float()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    regrower = attach_traced(
        *(_recipe("0", 4), net, optimizer), example_inputs=x[:2], calibration_inputs=x
    )
    before = _output(net, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net(x).sum().backward()
        optimizer.step()
    moved = (_output(net, x) - before).abs().amax() / before.abs().amax()
    assert regrower.report.events[0].change == pytest.approx(moved.item(), rel=1e-4)
    assert moved > 0


def test_the_model_is_left_as_it_was() -> None:
    net = _made(resnet)
    net.get_submodule("1").eval()
    flags = [module.training for module in net.modules()]
    state, generator = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    attach_traced(_recipe("2.conv1"), net, optimizer, example_inputs=X[:2], calibration_inputs=X)
    assert flags == [module.training for module in net.modules()]
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def test_bad_use_is_refused_before_training() -> None:
    net = _made(crater)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def attach(recipe: Recipe, **told: object) -> None:
        attach_traced(recipe, net, optimizer, example_inputs=X[:2], **told)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"give attach\(calibration_inputs=...\)"):
        attach(_recipe("0"))
    with pytest.raises(ConfigError, match="the model must run on calibration_inputs, and raised"):
        attach(_recipe("0"), calibration_inputs=X[:, :2])
    with pytest.raises(ConfigError, match="readers='redraw' contradicts it"):
        Redraw(preserve=True, readers="redraw")
    layers = resolve_layers(
        net,
        [regrow.trace(net, X[:2])["0"]],
        dict(net.named_parameters()),
        init=None,
        with_readers=False,
    )
    mask, params = torch.tensor([True, False, False, False]), dict(net.named_parameters())
    with pytest.raises(ConfigError, match="nothing was measured"):
        Redraw(preserve=True).edits(layers[0], mask, params=params, seed=0, step=0)


def test_a_dry_run_measures_nothing() -> None:
    net = _made(crater)
    before = _output(net)
    (event,) = _renew(net, _recipe("0"), dry_run=True).report.events
    assert event.change is None
    assert torch.equal(_output(net), before)
