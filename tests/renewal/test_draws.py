"""What a renewed filter is: each draw against what it promises, worked out in double precision beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import regrow
import regrow.renewal.draws
from crossed import crossed
from regrow.draw import Key, draw_filters
from regrow.errors import ConfigError
from regrow.graph.homogeneous import obstacles
from regrow.loop.start.initialisers import resolve_layers
from regrow.renewal import Edit, Layer, Need, Orthogonal, Redraw, Sums
from regrow.renewal.draws import Centred, Draw, FirstValues, LivingScale, Split, UnitVariance
from regrow.surgery import apply_edits_

DTYPE = torch.float64


def conv(act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), act(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), act(),
        nn.Flatten(), nn.Linear(20, 7), act(), nn.Linear(7, 3),
    ).to(DTYPE)  # fmt: skip


def transposed() -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(2, 6, 3, groups=2), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * 400, 3),
    ).to(DTYPE)  # fmt: skip


X = torch.rand(16, 2, 8, 8, dtype=DTYPE, generator=torch.Generator().manual_seed(2)) + 0.5


class Given:
    """What a layer hears on the batch, by a copy of it."""

    def __init__(self, net: nn.Module, path: str) -> None:
        self._module = copy.deepcopy(net.get_submodule(path))
        self._x = torch.empty(0)
        handle = net.get_submodule(path).register_forward_pre_hook(
            lambda module, args: setattr(self, "_x", args[0].detach().clone())
        )
        with torch.no_grad():
            net(X)
        handle.remove()

    def sums(self, weight: Tensor, mask: Tensor) -> Sums:
        self._module.weight = nn.Parameter(weight)
        self._module.bias = None
        with torch.no_grad():
            given = self._module(self._x).transpose(0, 1).flatten(1)
        return Sums(mean=given.mean(1) * mask, spread=given.std(1, correction=0) * mask)


def layers_of(net: nn.Module) -> dict[str, Layer]:
    """As a loop would fill them in."""
    wiring = regrow.trace(net, X[:2])
    tensors = dict(net.named_parameters())
    found = resolve_layers(net, wiring.renewable(("conv", "conv_transpose", "linear")), tensors, init=None,
                           with_readers=False)  # fmt: skip
    standing = obstacles(net, [each.filters for each in found], X)
    first = {name: value.detach().clone() for name, value in tensors.items()}
    return {
        each.filters.path: replace(
            each,
            first=first,
            heard=Given(net, each.filters.path),
            obstacle=standing[each.filters.path],
        )
        for each in found
    }


def marked(layer: Layer, *filters: int) -> Tensor:
    mask = torch.zeros(layer.filters.count, dtype=torch.bool)
    mask[list(filters)] = True
    return mask


def edits(
    net: nn.Module, layer: Layer, draw: Draw | None, *filters: int, **more: str
) -> list[Edit]:
    params = dict(net.named_parameters())
    before = {name: value.detach().clone() for name, value in params.items()}
    random = torch.get_rng_state()
    made = Redraw(draw=draw, **more).edits(  # type: ignore[arg-type]
        layer, marked(layer, *filters), params=params, seed=3, step=5
    )
    assert all(torch.equal(value, params[name]) for name, value in before.items())
    assert torch.equal(random, torch.get_rng_state())
    return made


def renewed(net: nn.Module, layer: Layer, draw: Draw | None, *filters: int) -> None:
    apply_edits_(dict(net.named_parameters()), edits(net, layer, draw, *filters))


def by_filter(net: nn.Module, layer: Layer) -> Tensor:
    """The weight with its filters in front, by what torch's layers compute."""
    weight = dict(net.named_parameters())[layer.filters.weight].detach()
    if layer.filters.kind != "conv_transpose":
        return weight.flatten(1)
    groups = weight.chunk(layer.filters.groups)
    return torch.cat([each.transpose(0, 1).flatten(1) for each in groups])


def sums(net: nn.Module, path: str) -> Tensor:
    """What a layer gives on the batch, its bias included, a row a filter."""
    found: list[Tensor] = []
    module = net.get_submodule(path)
    handle = module.register_forward_hook(lambda m, a, out: found.append(out.detach()))
    with torch.no_grad():
        net(X)
    handle.remove()
    return found[0].transpose(0, 1).flatten(1)


NETS = {"convolutions": (conv, ("0", "3", "6")), "transposed": (transposed, ("0", "2"))}
PLACES = [(kind, path) for kind, (_, paths) in NETS.items() for path in paths]


def made(kind: str, path: str) -> tuple[nn.Sequential, Layer]:
    torch.manual_seed(0)
    net = NETS[kind][0]()
    return net, layers_of(net)[path]


@pytest.mark.parametrize(
    ("draw", "kind", "path"),
    crossed(
        [None, FirstValues(), LivingScale(), Centred(), UnitVariance()],
        [pytest.param(*each) for each in PLACES],
    ),
)
def test_only_the_marked_filters_are_written(kind: str, path: str, draw: Draw | None) -> None:
    net, layer = made(kind, path)
    with torch.no_grad():
        for each in net.parameters():
            each.mul_(1.25)  # so that the first values are others
    before, biases = (
        by_filter(net, layer).clone(),
        dict(net.named_parameters())[layer.filters.bias or ""].detach().clone(),
    )
    others = {k: v.detach().clone() for k, v in net.named_parameters() if not k.startswith(path)}
    renewed(net, layer, draw, 1, 3)
    after, now = by_filter(net, layer), dict(net.named_parameters())[layer.filters.bias or ""]
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [row in (1, 3) for row in range(len(before))]
    assert all(
        torch.equal(biases[row], now[row]) for row in range(len(before)) if row not in (1, 3)
    )
    assert all(torch.equal(v, dict(net.named_parameters())[k]) for k, v in others.items())


def test_no_draw_is_what_the_initialiser_draws() -> None:
    net, layer = made("convolutions", "3")
    expected = draw_filters(
        layer.initialiser,
        key=Key(seed=3, step=5, layer="3"),
        weight=net[3].weight,
        filters=torch.tensor([1, 4]),
    )
    renewed(net, layer, None, 1, 4)
    assert torch.equal(net[3].weight.detach()[[1, 4]].flatten(1), expected)
    assert net[3].bias.detach()[[1, 4]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("kind", "path"), PLACES)
def test_first_values(kind: str, path: str) -> None:
    net, layer = made(kind, path)
    start = by_filter(net, layer).clone()
    bias = net.get_submodule(path).bias.detach().clone()  # type: ignore[union-attr, operator]
    with torch.no_grad():
        for each in net.parameters():
            each.normal_()
    renewed(net, layer, FirstValues(), 2)
    assert torch.equal(by_filter(net, layer)[2], start[2])
    assert torch.equal(net.get_submodule(path).bias[2], bias[2])  # type: ignore[index]
    with pytest.raises(
        ConfigError, match=rf"needs the values that the layer began with.*\({path}\)"
    ):
        edits(net, replace(layer, first=None), FirstValues(), 2)


@pytest.mark.parametrize(
    ("kind", "path", "factor"), crossed([pytest.param(*each) for each in PLACES], [1.0, 0.2])
)
def test_living_scale(kind: str, path: str, factor: float) -> None:
    net, layer = made(kind, path)
    with torch.no_grad():
        net.get_submodule(path).weight.mul_(7.0)  # type: ignore[operator, union-attr]
    lengths = by_filter(net, layer).norm(dim=1)
    living = [float(each) for row, each in enumerate(lengths) if row not in (0, 2)]
    twin, other = made(kind, path)
    renewed(twin, other, None, 0, 2)
    renewed(net, layer, LivingScale(factor=factor), 0, 2)
    for row in (0, 2):
        new, plain = by_filter(net, layer)[row], by_filter(twin, other)[row]
        assert float(new.norm()) == pytest.approx(factor * sum(living) / len(living))
        torch.testing.assert_close(new / new.norm(), plain / plain.norm())


@pytest.mark.parametrize(("kind", "path"), PLACES)
def test_centred(kind: str, path: str) -> None:
    net, layer = made(kind, path)
    rows: list[Tensor] = []
    for step in range(60):
        (weight, bias) = Redraw(draw=Centred()).edits(
            layer, marked(layer, 1, 3), params=dict(net.named_parameters()), seed=3, step=step
        )
        apply_edits_(dict(net.named_parameters()), [weight, bias])
        rows.append(by_filter(net, layer)[[1, 3]])
        if step < 3:
            given = sums(net, path)[[1, 3]]
            assert given.mean(1).abs().max() < 1e-12
    values = torch.stack(rows).flatten()
    # He: a variance of 2 / fan_in, within four standard errors.
    expected = 2.0 / rows[0].shape[1]
    assert float(values.var()) == pytest.approx(expected, rel=4 * (2 / len(values)) ** 0.5)


@pytest.mark.parametrize(("kind", "path"), PLACES)
def test_unit_variance(kind: str, path: str) -> None:
    net, layer = made(kind, path)
    renewed(net, layer, UnitVariance(), 0, 1, 3)
    given = sums(net, path)[[0, 1, 3]]
    torch.testing.assert_close(given.std(1, correction=0), torch.ones(3, dtype=DTYPE))


def test_a_constant_has_no_variance_to_set() -> None:
    net, layer = made("convolutions", "6")
    with torch.no_grad():
        for each in (net[3].weight, net[3].bias):
            each.fill_(-1.0)  # nothing comes to the dense layer
    silent = replace(layer, heard=Given(net, "6"))
    plain = by_filter(net, silent).clone()
    renewed(net, silent, UnitVariance(), 2)
    twin, other = made("convolutions", "6")
    renewed(twin, other, None, 2)
    assert torch.equal(by_filter(net, silent)[2], by_filter(twin, other)[2])
    assert not torch.equal(plain[2], by_filter(net, silent)[2])


@pytest.mark.parametrize("draw", [Centred(), UnitVariance()])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_handed_on(draw: Draw, poison: float) -> None:
    net, layer = made("convolutions", "3")
    given = Given(net, "3")
    given._x[0, 0, 0, 0] = poison
    renewed(net, replace(layer, heard=given), draw, 1, 2)
    weight, bias = net.get_submodule("3").parameters()
    assert bool(weight.isfinite().all())
    assert bias[[1, 2]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("draw", [Centred(), UnitVariance()])
def test_without_a_batch_it_says_so(draw: Draw) -> None:
    net, layer = made("convolutions", "3")
    with pytest.raises(
        ConfigError, match=r"needs what the layer heard in the newest training pass, .*\(3\)"
    ):
        edits(net, replace(layer, heard=None), draw, 1)


def _kill(net: nn.Module, path: str, *filters: int) -> None:
    module = net.get_submodule(path)
    with torch.no_grad():
        for each in filters:
            row = (
                module.weight.transpose(0, 1)[each]
                if isinstance(module, nn.ConvTranspose2d)
                else module.weight[each]
            )  # type: ignore[index, operator, union-attr]
            row.zero_()
            module.bias[each] = -1.0  # type: ignore[index, operator]


SPLIT = [("convolutions", "0"), ("convolutions", "3"), ("convolutions", "6"), ("transposed", "2")]


@pytest.mark.parametrize("dead", [(1,), (0, 2, 3)])
@pytest.mark.parametrize(("kind", "path"), SPLIT)
def test_a_split_keeps_the_function_and_no_copy(
    kind: str, path: str, dead: tuple[int, ...]
) -> None:
    net, layer = made(kind, path)
    _kill(net, path, *dead)
    with torch.no_grad():
        before = net(X)
    old = by_filter(net, layer).clone()
    renewed(net, layer, Split(), *dead)
    with torch.no_grad():
        after = net(X)
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-12)
    new = by_filter(net, layer)
    for filter_ in dead:
        cosines = torch.cosine_similarity(new[filter_][None], old)
        donor = int(cosines.argmax())
        assert donor not in dead
        assert float(cosines[donor]) == pytest.approx(1.0)
        assert 0.3 <= float(new[filter_].norm() / old[donor].norm()) <= 0.8
    # From here on they go different ways: what their readers say to them is not proportional.
    nn.functional.cross_entropy(net(X), torch.arange(16) % 3).backward()
    grad = dict(net.named_parameters())[layer.filters.weight].grad
    assert grad is not None
    twin = (
        grad.flatten(1)
        if layer.filters.kind != "conv_transpose"
        else grad.transpose(0, 1).flatten(1)
    )
    alike = torch.cosine_similarity(twin[dead[0]][None], twin)
    assert sorted(alike.tolist())[-2] < 0.9999


def test_the_donor_is_the_strongest() -> None:
    net, layer = made("convolutions", "6")
    _kill(net, "6", 1)
    with torch.no_grad():
        net[6].weight[4] *= 5
        net[8].weight[:, 4] *= 5
        net[8].weight[:, 5] *= 1e-3
        net[6].weight[5] *= 20
    old = by_filter(net, layer).clone()
    made_edits = edits(net, layer, Split(), 1)
    assert [edit.fresh for edit in made_edits] == [True, True, True, False]
    renewed(net, layer, Split(), 1)
    cosines = torch.cosine_similarity(by_filter(net, layer)[1][None], old)
    assert int(cosines.argmax()) == 4


def test_nobody_to_split_is_fresh_and_unheard() -> None:
    net, layer = made("convolutions", "6")
    renewed(net, layer, Split(), *range(7))
    twin, other = made("convolutions", "6")
    renewed(twin, other, None, *range(7))
    assert torch.equal(net[6].weight, twin[6].weight)
    assert not bool(net[8].weight.any())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda: conv(nn.GELU), "gelu before its readers"),
        (lambda: conv(nn.Tanh), "tanh before its readers"),
        (lambda: conv(nn.ReLU6), "hardtanh before its readers"),
        (lambda: conv(nn.Softplus), "softplus before its readers"),
    ],
)
def test_other_activations_are_refused(change: Callable[[], nn.Sequential], why: str) -> None:
    net = change()
    layer = layers_of(net)["0"]
    with pytest.raises(ConfigError, match=f"'0' has {why}"):
        Redraw(draw=Split()).check(layer)


def test_other_surroundings_are_refused() -> None:
    normed = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(96, 3),
    ).to(DTYPE).eval()  # fmt: skip
    found = layers_of(normed)
    with pytest.raises(ConfigError, match="'0' has groups"):
        Split().check(found["0"])
    with pytest.raises(ConfigError, match="'3' has groups"):
        Split().check(found["3"])
    plain = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 3)
    )
    with pytest.raises(ConfigError, match="'0' has a norm behind it"):
        Split().check(layers_of(plain.to(DTYPE).eval())["0"])


def test_what_is_homogeneous_is_tried() -> None:
    for act, expected in (
        (nn.ReLU, {"0": "", "3": "", "6": ""}),
        (nn.LeakyReLU, {"0": "", "3": "", "6": ""}),
        (nn.SiLU, dict.fromkeys(("0", "3", "6"), "silu before its readers")),
    ):
        net = conv(act)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        layers = regrow.trace(net, X[:2]).renewable(("conv", "linear"))
        assert obstacles(net, layers, X) == expected
        assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
        assert not any(each._forward_pre_hooks for each in net.modules())


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: Redraw(draw="centered"),
            "draw must be 'initialiser', 'initial', .*got 'centered'",
        ),
        (lambda: Redraw(draw=Centred), "one of regrow.renewal.draws"),  # type: ignore[arg-type]
        (lambda: Redraw(draw=Centred(), bias="keep"), "draws the bias, which bias='keep' keeps"),
        (lambda: Redraw(draw=Split(), readers="zero"), "leave readers and preserve as they are"),
        (lambda: Redraw(draw=Split(), preserve=True), "leave readers and preserve as they are"),
        (lambda: Orthogonal(draw=Centred()), "leaves no room for draw=Centred"),
        (lambda: LivingScale(factor=0.0), r"factor must be above 0, got 0.0 \(living scale\)"),
    ],
)
def test_wrong_settings_are_refused(make: Callable[[], object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()


def test_the_menu_by_name_and_what_each_draw_asks_for() -> None:
    menu = {
        "initialiser": (None, set(), False),
        "initial": (FirstValues(), {Need.FIRST}, False),
        "living_scale": (LivingScale(), set(), False),
        "centred": (Centred(), {Need.HEARD}, False),
        "unit_variance": (UnitVariance(), {Need.HEARD}, False),
        "split": (Split(), {Need.HOMOGENEOUS}, True),
    }
    for name, (draw, needs, touches) in menu.items():
        renewal = Redraw(draw=name)
        assert renewal == Redraw(draw=draw)
        assert (renewal.draw, renewal.needs, renewal.touches_readers) == (draw, needs, touches)
    assert {type(draw).__name__ for draw, _, _ in menu.values() if draw is not None} == {
        name for name in regrow.renewal.draws.__all__ if name not in {"Draw", "Drawn", "draw_of"}
    }
