"""Layers that multiply by ``x @ weight``: a filter is a column there, wherever a filter is looked for.

Everything is compared with the same network of `nn.Linear`, whose weights are the transposed ones: to a renewal the two
are one network, so that the same filters are renewed and the same numbers come out, but for the rounding of products.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from contract.rows import BY_SILENCE, SAMPLE, VARIANTS
from crossed import seldom
from regrow.errors import ConfigError
from regrow.graph.plain import has_columns, is_layer
from regrow.guard import AdaptiveClip, NormClip, WeightClip
from regrow.guard.groups import parts_of
from regrow.history import Renewed
from regrow.renewal import Redraw
from traced import attach_traced

STEPS = 18
X = torch.randn(STEPS, 16, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.arange(16) % 3


class Columns(nn.Module):
    """As GPT-2 has it: the class draws its weight in the constructor, and has no reset_parameters."""

    wired_as_shown = True

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.outputs, self.inputs = outputs, inputs
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        size = (*x.shape[:-1], self.outputs)
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(size)


def _net(make: Callable[[int, int], nn.Module], activation: type[nn.Module]) -> nn.Module:
    return nn.Sequential(make(8, 5), activation(), make(7, 8), activation(), make(3, 7))


def _pair(
    activation: type[nn.Module] = nn.ReLU, *, dead: bool = False
) -> tuple[nn.Module, nn.Module]:
    """The network with columns, and its twin; with two units that are silent."""
    torch.manual_seed(0)
    twin = _net(lambda outputs, inputs: nn.Linear(inputs, outputs), activation).double()
    for layer, unit in ((0, 2), (2, 4)) if dead else ():
        with torch.no_grad():
            twin[layer].weight[unit], twin[layer].bias[unit] = 0.0, -1.0
    columns = _net(Columns, activation).double()
    with torch.no_grad():
        for name, each in columns.named_parameters():
            own = dict(twin.named_parameters())[name]
            each.copy_(own.t() if own.ndim == 2 else own)
    return columns, twin


def _train(
    net: nn.Module, recipe: Any, *, optimizer: type[torch.optim.Optimizer], **options: Any
) -> tuple[list[Renewed], nn.Module, dict[str, Any]]:
    copied = copy.deepcopy(net)
    stepped = optimizer(net.parameters(), lr=0.02)
    settings = {"init": "kaiming_normal", "layers": ("linear",), **options}
    regrower = attach_traced(
        recipe,
        net,
        stepped,
        example_inputs=X[0],
        total_steps=STEPS,
        steps_per_epoch=6,
        companions=[copied],
        calibration_inputs=X[0],
        calibration_targets=Y,
        **settings,
    )
    for x in X:
        stepped.zero_grad()
        F.cross_entropy(net(x), Y).backward()
        stepped.step()
    return list(regrower.report.events), copied, stepped.state_dict()["state"]


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(
        one, other.t() if other.ndim == 2 else other, rtol=1e-7, atol=1e-9, equal_nan=True
    )


def _train_alike(recipe: Any, **options: Any) -> list[Renewed]:
    activation, dead = options.pop("activation", nn.ReLU), options.pop("dead", False)
    options.setdefault("optimizer", torch.optim.Adam)
    columns, twin = _pair(activation, dead=dead)
    events, copied, state = _train(columns, recipe, **options)
    others, copied_twin, state_twin = _train(twin, recipe, **options)
    where = [(each.step, each.layer, each.filters) for each in events]
    assert where == [(each.step, each.layer, each.filters) for each in others]
    for net, other in ((columns, twin), (copied, copied_twin)):
        for name, each in net.named_parameters():
            assert _same(each, dict(other.named_parameters())[name]), name
    for number, kept in state.items():
        for key, value in kept.items():
            if isinstance(value, Tensor):
                assert _same(value, state_twin[number][key]), (number, key)
    return events


def _of_row(name: str) -> Any:
    row = VARIANTS[name]
    acts = dict(row.acts)
    if name == "random":
        acts["like"] = tuple(
            Renewed(step=step, layer=layer, filters=filters, scores=(0.0,) * len(filters))
            for step, layer, filters in ((5, "0", (1,)), (5, "2", (0, 2)), (11, "2", (4,)))
        )
    return row.make(**acts)


@pytest.mark.parametrize("name", SAMPLE)
def test_every_recipe_trains_as_on_the_transposed_twin(name: str) -> None:
    events = _train_alike(_of_row(name), dead=name in BY_SILENCE)
    assert events


@pytest.mark.parametrize(
    "guard",
    [AdaptiveClip(clip=0.05), NormClip(max_norm=0.1), WeightClip(multiple=0.5)],
    ids=str,
)
def test_every_guard_does_too(guard: Any) -> None:
    """By unit for the first, by fan-in for the last."""
    _train_alike(guard)


def test_a_fresh_layer_is_as_long_as_its_class_draws_it_or_as_its_fan_in_says() -> None:
    """A step is limited by that."""
    net = nn.Sequential(Columns(40, 50), nn.ReLU(), _Unfilled(3, 40))
    parts = parts_of(net, regrow.trace(net, torch.zeros(1, 50)))
    drawn, unknown = (parts[net[number].weight].group.fresh ** 2 for number in (0, 2))
    # Of a vector whose initialiser is not known: ones.
    assert abs((drawn - 40) / (40 * 50 * 0.02**2) - 1) < 0.2
    assert unknown == pytest.approx(3 * 40 / (3 * 40) + 3)


@pytest.mark.parametrize(
    "recipe",
    [
        regrow.RandomOut(threshold=0.5, confirm="gradient", every_steps=6, readers="redraw"),
        regrow.RandomOut(threshold=0.5, confirm="gradient", every_steps=6, preserve=True),
        *(
            regrow.ReDo(threshold=1.0, every_steps=6).with_parts(renew=Redraw(draw=draw))
            for draw in ("centred", "split")
        ),
        *(
            pytest.param(
                regrow.ReDo(threshold=1.0, every_steps=6).with_parts(renew=Redraw(draw=draw)),
                marks=pytest.mark.slow,
            )
            for draw in ("initial", "living_scale", "unit_variance")
        ),
    ],
    ids=str,
)
def test_every_renewal_does_too(recipe: Any) -> None:
    assert _train_alike(recipe)


@pytest.mark.parametrize(
    "init",
    seldom(
        ["orthogonal", "torch_default", "xavier_uniform", "match"],
        often=["orthogonal", "torch_default"],
    ),
)
def test_every_initialiser_does_too(init: str) -> None:
    """Those with a fan must not take the other side's, and orthogonal ones must be so by filter."""
    assert _train_alike(regrow.ReDo(threshold=1.0, every_steps=6), init=init)


@pytest.mark.parametrize(
    "optimizer",
    seldom(
        [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.NAdam],
        often=[torch.optim.RMSprop],
    ),
)
def test_optimizers_do_too(optimizer: type[torch.optim.Optimizer]) -> None:
    assert _train_alike(regrow.ReDo(threshold=1.0, every_steps=6), optimizer=optimizer)


@pytest.mark.parametrize("activation", seldom([nn.GELU, nn.SiLU], often=[nn.GELU]))
def test_units_that_never_give_0_are_dormant_by_their_size(activation: type[nn.Module]) -> None:
    """-1 before GELU is -0.16, before SiLU -0.27: small beside the mean of the layer, and no 0."""
    assert _train_alike(
        regrow.ReDo(threshold=0.9, every_steps=6, as_published=True), activation=activation
    )


def test_filters_are_columns_and_readers_rows() -> None:
    """A renewed unit's column and its reader's row change, and nothing else."""
    net, _ = _pair()
    wiring = regrow.trace(net, X[0])
    assert [(each.kind, each.count, each.columns, each.weight_shape) for each in wiring.layers] == [
        ("linear", 8, True, (5, 8)),
        ("linear", 7, True, (8, 7)),
        ("linear", 3, True, (7, 3)),
    ]
    before = copy.deepcopy(net)
    stepped = torch.optim.SGD(net.parameters(), lr=0.0)
    event = Renewed(step=0, layer="0", filters=(3,), scores=(0.0,))
    recipe = regrow.RandomControl(like=(event,), readers="zero")
    regrow.attach(
        recipe, net, stepped, example_inputs=X[0], layers=("linear",), init="normal:1", seed=3
    )
    F.cross_entropy(net(X[0]), Y).backward()
    stepped.step()
    changed = {
        name: (each != own).nonzero().tolist()
        for (name, each), (_, own) in zip(
            net.named_parameters(), before.named_parameters(), strict=True
        )
    }
    [unit] = {column for _, column in changed["0.weight"]}
    assert changed["0.weight"] == [[row, unit] for row in range(5)]
    assert changed["2.weight"] == [[unit, column] for column in range(7)]
    assert net[2].weight[unit].abs().sum() == 0
    assert changed["2.bias"] + changed["4.weight"] + changed["4.bias"] == []


def test_a_class_without_reset_parameters_is_asked_to_draw_itself() -> None:
    """By its constructor: 0.02 is the deviation of the class, and of no initialiser of torch's."""
    torch.manual_seed(0)
    net = nn.Sequential(Columns(40, 50), nn.ReLU(), Columns(3, 40))
    x = torch.randn(8, 50)
    before = net[0].weight.detach().clone()
    state = torch.random.get_rng_state()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-30)
    regrow.attach(regrow.ReDo(threshold=10.0, every_steps=1), net, optimizer, example_inputs=x)
    for _ in range(2):
        net(x).sum().backward()
        optimizer.step()
    assert torch.equal(torch.random.get_rng_state(), state)
    drawn = net[0].weight[:, (net[0].weight != before).any(0)].detach().double()
    assert drawn.numel() >= 1000
    # n numbers of deviation s: theirs is within s / sqrt(2n) of s, four times of which is beyond luck.
    assert abs(float(drawn.std()) / 0.02 - 1) < 4 / (2 * drawn.numel()) ** 0.5


class _Unfilled(Columns):
    """Its model fills the weights, not its constructor."""

    def __init__(self, outputs: int, inputs: int) -> None:
        nn.Module.__init__(self)
        self.outputs, self.inputs = outputs, inputs
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))


class _Zeros(_Unfilled):
    """It draws nothing."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__(outputs, inputs)
        nn.init.zeros_(self.weight)


class _Forgetful(Columns):
    """It does not remember how it was made."""

    def __init__(self, width: int, inputs: int) -> None:
        super().__init__(width, inputs)


@pytest.mark.parametrize("make", [_Unfilled, _Zeros, _Forgetful])
def test_a_constructor_that_is_not_seen_to_draw_is_no_initialiser(make: type[Columns]) -> None:
    net = nn.Sequential(make(4, 5), nn.ReLU(), Columns(3, 4))
    nn.init.normal_(net[0].weight)
    with pytest.raises(ConfigError, match=r"its initialiser is not known: tell it with init=\{'0'"):
        regrow.attach(
            regrow.ReDo(),
            net,
            torch.optim.SGD(net.parameters(), lr=0.1),
            example_inputs=torch.ones(1, 5),
        )


class _Rectified(Columns):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(super().forward(x))


def test_what_is_one_layer_is_tried_out() -> None:
    assert has_columns(Columns(3, 5))
    assert is_layer(nn.Linear(5, 3))
    assert is_layer(nn.Conv2d(1, 2, 3))
    zeros = _Rectified(3, 5)
    nn.init.zeros_(zeros.weight)
    others = (_Rectified(3, 5), zeros, nn.Linear(5, 3), nn.Embedding(5, 3), nn.ReLU(), None)
    assert not any(map(has_columns, others))


def test_one_weight_in_two_layouts_is_refused() -> None:
    """Rows here and columns there: a filter of the one is no filter of the other."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.relu(torch.relu(self.first(x)) @ self.first.weight))

    wiring = regrow.trace(Both(), torch.ones(1, 4))
    assert "another layout" in wiring["first"].refused or "too" in wiring["first"].refused
