"""Draws that must know more of a layer, through `attach`: first values, what was heard, what lies between layers."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import regrow
from crossed import crossed, seldom
from regrow.compose import Recipe, RecipeInfo
from regrow.criteria import RandomScore
from regrow.errors import ConfigError, NoEffectWarning, StateError
from regrow.renewal import Redraw
from regrow.schedule import Every
from regrow.selection import CountsOf
from traced import attach_traced

G = torch.Generator().manual_seed(4)
IMAGES = torch.rand(12, 16, 2, 8, 8, generator=G) + 0.5
LABELS = torch.randint(0, 3, (12, 16), generator=G)
AT = 3
"""The step behind which filters are renewed."""


class Net(nn.Module):
    """A stem, a block with norms on a skip connection, dropout, and dense layers."""

    wired_as_shown = True

    def __init__(self, *, dropout: float = 0.3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(2, 5, 3, padding=1)
        self.a, self.norm = nn.Conv2d(5, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.b = nn.Conv2d(6, 5, 3, padding=1)
        self.drop = nn.Dropout(dropout)
        self.inner, self.head = nn.Linear(5 * 16, 7), nn.Linear(7, 3)

    def features(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (x + self.b(self.norm(self.a(x)).relu_())).relu()
        return nn.functional.avg_pool2d(x, 2).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.inner(self.features(x)).relu()))


def recipe(
    draw: Any,
    *,
    layers: dict[str, int] | None = None,
    steps: tuple[int, ...] = (AT,),
    **parts: Any,
) -> Recipe:
    """Renews so many filters, picked by a key, in these layers behind these steps."""
    taken = layers or {"stem": 2, "b": 1, "inner": 3}
    return Recipe(
        info=RecipeInfo(name="drawn", summary="Of these tests."),
        criterion=RandomScore(),
        select=CountsOf(counts={(step, path): n for path, n in taken.items() for step in steps}),
        renew=Redraw(draw=draw),
        when=Every(steps=1),
        layers=("conv", "linear"),
        **parts,
    )


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)


def attached(
    given: Recipe, net: nn.Module, optimizer: torch.optim.Optimizer, **more: Any
) -> regrow.Regrower:
    return attach_traced(
        given,
        *(net, optimizer),
        example_inputs=IMAGES[0],
        **{"total_steps": 12, "seed": 5, **more},
    )


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        cross_entropy(net(IMAGES[step]), LABELS[step]).backward()
        optimizer.step()


def renewed(regrower: regrow.Regrower) -> dict[str, list[int]]:
    return {event.layer: list(event.filters) for event in regrower.report.events}


def sums(net: nn.Module, x: Tensor, *paths: str) -> dict[str, Tensor]:
    """What layers give in a training pass of a copy of the network, bias included: by filter, in float64."""
    net = copy.deepcopy(net).double().train()
    net.drop.eval()  # type: ignore[union-attr, operator] # in front of the head alone
    found: dict[str, list[Tensor]] = {path: [] for path in paths}
    for path in paths:
        net.get_submodule(path).register_forward_hook(
            lambda module, args, out, path=path: found[path].append(
                out.detach().transpose(0, 1).flatten(1)
            )
        )
    with torch.no_grad():
        net(x.double())
    return {path: torch.cat(each, 1) for path, each in found.items()}


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# ---- what was heard


def test_centred_units_have_no_mean_on_the_newest_batch_whatever_was_renewed_in_front() -> None:
    net = Net()
    optimizer = sgd(net)
    regrower = attached(recipe("centred"), net, optimizer)
    train(net, optimizer, range(AT + 1))
    found = renewed(regrower)
    assert {path: len(units) for path, units in found.items()} == {"stem": 2, "b": 1, "inner": 3}
    for path, given in sums(net, IMAGES[AT], *found).items():
        units = given[found[path]]
        assert units.mean(1).abs().max() < 1e-6 * units.abs().max()
        fires = (units > 0).double().mean(1)
        assert bool(((fires > 0.1) & (fires < 0.9)).all()), fires
    assert not regrower.report.notes or all("heard" not in note for note in regrower.report.notes)


def test_transposed_layers_with_groups_and_layers_of_one_axis() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.ConvTranspose2d(2, 6, 3, groups=2), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2, stride=2), nn.ReLU(),
        nn.Flatten(2), nn.Conv1d(4, 5, 4, stride=4), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(5, 3),
    )  # fmt: skip
    optimizer = sgd(net)
    taken = {"0": 2, "2": 1, "5": 2}
    given = recipe("centred", layers=taken)
    regrower = attached(given, net, optimizer, layers=("conv", "conv_transpose"))
    train(net, optimizer, range(AT + 1))
    x = IMAGES[AT].double()
    for path, module in copy.deepcopy(net).double().named_children():
        x = module(x).detach()
        if path in taken:
            units = x.transpose(0, 1).flatten(1)[renewed(regrower)[path]]
            assert units.mean(1).abs().max() < 1e-6 * units.abs().max()


def test_filters_that_come_back_after_a_drop() -> None:
    """They are centred in the whole network, on the batch of the step in which they come back."""
    net = Net()
    optimizer = sgd(net)
    given = regrow.RePr(s1=2, s2=2, cycles=1, unit="steps").with_parts(
        renew=Redraw(draw="centred"), layers=("conv",)
    )
    regrower = attached(given, net, optimizer)
    step = 0
    while not regrower.report.events:
        train(net, optimizer, range(step, step + 1))
        step += 1
    found = renewed(regrower)
    for path, sums_of in sums(net, IMAGES[step - 1], *found).items():
        units = sums_of[found[path]]
        assert units.mean(1).abs().max() < 1e-6 * units.abs().max()


@pytest.mark.filterwarnings("error")  # of what torch.compile comes across in regrow, too
@pytest.mark.parametrize("late", seldom([False, True], often=[True]))
def test_a_compiled_model_is_heard_and_stays_in_one_piece(late: bool) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.warn_once_cache.clear()
    net = Net(dropout=0.0)
    pieces: list[int] = []

    def backend(graph: Any, example: Any) -> Any:
        pieces.append(len(graph.graph.nodes))
        return graph.forward

    optimizer = sgd(net)
    given = recipe("centred")
    if late:
        regrower = attached(given, net, optimizer)
        compiled: Any = torch.compile(net, backend=backend)
    else:
        compiled = torch.compile(net, backend=backend)
        regrower = attached(given, compiled, optimizer)
    train(compiled, optimizer, range(AT + 1))
    assert len(pieces) == 1 or late, pieces
    assert pieces[-1] == max(pieces)
    for path, given_by in sums(net, IMAGES[AT], "stem", "b", "inner").items():
        units = given_by[renewed(regrower)[path]]
        assert units.mean(1).abs().max() < 1e-6 * units.abs().max()


def test_units_of_unit_variance() -> None:
    net = Net()
    optimizer = sgd(net)
    regrower = attached(recipe("unit_variance"), net, optimizer)
    train(net, optimizer, range(AT + 1))
    for path, given in sums(net, IMAGES[AT], "stem", "b", "inner").items():
        spread = given[renewed(regrower)[path]].std(1, correction=0)
        torch.testing.assert_close(spread, torch.ones_like(spread), rtol=1e-5, atol=0)


def test_the_pass_leaves_no_trace_and_the_others_keep_their_bits() -> None:
    """Running statistics, random state, other filters, the batch itself."""
    net, plain = Net(), Net()
    optimizers = [sgd(each) for each in (net, plain)]
    regrower = attached(recipe("centred"), net, optimizers[0])
    batch = IMAGES.clone()
    for each, optimizer in zip((net, plain), optimizers, strict=True):
        torch.manual_seed(7)
        train(each, optimizer, range(AT + 1))
    assert torch.equal(torch.rand(3), (torch.manual_seed(7), _after_dropout(), torch.rand(3))[2])
    assert torch.equal(batch, IMAGES)
    for name, value in net.state_dict().items():
        mask = torch.ones(value.shape[:1] or (1,), dtype=torch.bool)
        mask[renewed(regrower).get(name.rpartition(".")[0], [])] = False
        other = plain.state_dict()[name]
        assert torch.equal(value.reshape(len(mask), -1)[mask], other.reshape(len(mask), -1)[mask])
    assert not any(each._forward_pre_hooks for each in net.modules())


def _after_dropout() -> None:
    for _ in range(AT + 1):
        nn.functional.dropout(torch.ones(16, 7), 0.3)


def test_dropout_is_of_the_renewals_own_numbers() -> None:
    """Behind a dropout, whatever the loop's own generator is at."""

    def run(seed: int, number: int) -> Tensor:
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(128, 9), nn.Dropout(0.5), nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 3)
        )  # fmt: skip
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
        given = recipe("centred", layers={"3": 2})
        attach_traced(
            given, net, optimizer, example_inputs=IMAGES[0], total_steps=9, seed=seed, include=["3"]
        )
        torch.manual_seed(number)
        train(net, optimizer, range(AT + 1))
        return net[3].bias.detach()

    assert torch.equal(run(1, 2), run(1, 3))


def test_the_last_of_several_micro_batches_counts() -> None:
    net = Net()
    optimizer = sgd(net)
    regrower = attached(recipe("centred"), net, optimizer)
    for step in range(AT + 1):
        optimizer.zero_grad()
        for half in (slice(0, 8), slice(8, 16)):
            cross_entropy(net(IMAGES[step][half]), LABELS[step][half]).backward()
        with torch.no_grad():
            net(IMAGES[step + 1])  # no training pass, and neither is the next
        net.eval()
        net(IMAGES[step + 2])
        net.train()
        optimizer.step()
    (given,) = sums(net, IMAGES[AT][8:], "inner").values()
    units = given[renewed(regrower)["inner"]]
    assert units.mean(1).abs().max() < 1e-6 * units.abs().max()


def test_under_autocast_it_is_cast_as_in_the_pass() -> None:
    """A batch in half precision runs under autocast alone."""
    net = Net()
    optimizer = sgd(net)
    regrower = attached(recipe("centred"), net, optimizer)
    for step in range(AT + 1):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            given = net(IMAGES[step].bfloat16())
        cross_entropy(given.float(), LABELS[step]).backward()
        optimizer.step()
    for path, found in sums(net, IMAGES[AT], "stem", "inner").items():
        units = found[renewed(regrower)[path]]
        assert units.mean(1).abs().max() < 0.02 * units.abs().max()


def test_a_model_that_is_called_in_parts() -> None:
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Linear(144, 5), nn.ReLU(), nn.Linear(5, 3)),
    )
    optimizer = sgd(net)
    given = recipe("centred", layers={"0.0": 2, "1.0": 2}).with_parts(when=Every(steps=AT + 1))
    regrower = attached(given, net, optimizer)
    middle = torch.zeros(0)
    for step in range(AT + 1):
        optimizer.zero_grad()
        middle = net[0](IMAGES[step])
        cross_entropy(net[1](middle), LABELS[step]).backward()
        optimizer.step()
    with torch.no_grad():
        first = net[0][0](IMAGES[AT]).transpose(0, 1).flatten(1)[renewed(regrower)["0.0"]]
        second = net[1][0](middle).T[renewed(regrower)["1.0"]]
    for units in (first, second):
        assert units.mean(1).abs().max() < 1e-5 * units.abs().max()


@pytest.mark.parametrize("how", ["by place", "by name", "by several biases"])
def test_a_layer_that_is_called_as_a_function(how: str) -> None:
    class Functional(Net):
        def forward(self, x: Tensor) -> Tensor:
            x, weight, bias = self.features(x), self.inner.weight, self.inner.bias
            linear = nn.functional.linear
            if how == "by place":
                return self.head(linear(x, weight, bias).relu())
            if how == "by name":
                return self.head(linear(x, bias=bias, weight=weight).relu())
            return self.head(linear(x, weight, bias).relu() + linear(-x, weight, 2 * bias).relu())

    net = Functional()
    optimizer = sgd(net)
    regrower = attached(
        recipe("unit_variance", layers={"inner": 2}), net, optimizer, include=["inner"]
    )
    train(net, optimizer, range(AT + 1))
    with torch.no_grad():
        x = copy.deepcopy(net).features(IMAGES[AT])
        x = torch.cat((x, -x)) if how == "by several biases" else x
        given = nn.functional.linear(x, net.inner.weight[renewed(regrower)["inner"]])
    torch.testing.assert_close(given.std(0, correction=0), torch.ones(2), rtol=1e-4, atol=0)


@pytest.mark.parametrize("how", ["written into", "not called", "by a product"])
def test_where_nothing_was_heard_it_is_said(how: str) -> None:
    """Then it is drawn as without regard to the data: the same weights, and a bias of 0."""

    class Odd(Net):
        def forward(self, x: Tensor) -> Tensor:
            if how == "written into":
                x = x.sub_(0.5)
            x = self.features(x)
            inner = self.inner(x) if how != "by a product" else x @ self.inner.weight.T
            return self.head(inner.relu())

    net = Odd()
    optimizer = sgd(net)
    regrower = attached(recipe("centred", layers={"inner": 2}), net, optimizer, include=["inner"])
    given = IMAGES.clone()

    def go() -> None:
        for step in range(AT + 1):
            optimizer.zero_grad()
            net.train(how != "not called")
            cross_entropy(net(given[step]), LABELS[step]).backward()
            optimizer.step()

    with pytest.warns(
        NoEffectWarning, match="inner: renewed as if it had heard nothing, for in step 3"
    ):
        go()
    told = {
        "written into": "what the model was called with was written into",
        "not called": "the model was not called in training mode",
        "by a product": "nobody was seen to call it with its own weight",
    }
    assert any(told[how] in note for note in regrower.report.notes)
    units = renewed(regrower)["inner"]
    if how != "by a product":  # whose bias nobody was seen to add
        assert not net.inner.bias[units].any()
    assert net.inner.weight[units].std() > 0.05


def test_a_layer_to_which_no_example_came() -> None:
    class Branch(Net):
        def forward(self, x: Tensor) -> Tensor:
            x = self.features(x)
            return self.head(self.inner(x[:0]).relu().sum(0) + self.inner(x[:0]).sum() + x[:, :7])

    net = Branch()
    optimizer = sgd(net)
    regrower = attached(
        recipe("unit_variance", layers={"inner": 2}), net, optimizer, include=["inner"]
    )
    train(net, optimizer, range(AT + 1))
    units = renewed(regrower)["inner"]
    assert bool(net.inner.weight[units].isfinite().all())
    assert net.inner.weight[units].abs().max() < 1 / 80**0.5


def test_nothing_is_kept_while_nothing_can_be_renewed() -> None:
    """Calls are kept where a renewal is due, and none behind the last such step."""
    from regrow.activity import ActivityMeter

    net = Net()
    optimizer = sgd(net)
    given = recipe("centred").with_parts(when=Every(steps=AT + 1))
    regrower = attached(given, net, optimizer)
    meter = ActivityMeter.of(net, regrow.trace(net, IMAGES[0]))
    asked: list[bool] = []
    for step in range(10):
        asked.append(meter.calls.asked)
        assert ("_compiled_call_impl" in net.__dict__) is meter.calls.asked
        # Whether the loop calls the model or its parts is seen in the first step.
        assert ("_compiled_call_impl" in net.stem.__dict__) is (step == 0)
        net(IMAGES[step])
        assert bool(meter.calls.newest) is meter.calls.asked
        for call in meter.calls.newest.values():
            assert call.arguments[0][0].data_ptr() == IMAGES[step].data_ptr()
        train(net, optimizer, range(step, step + 1))
    assert [step for step, each in enumerate(asked) if each] == [0, 3, 7]
    regrower.detach()
    assert not meter.calls.asked


@pytest.mark.parametrize(("draw", "cut"), crossed(["centred", "initial", "split"], [3, 4, 6]))
def test_resumed_is_uninterrupted(draw: str, cut: int) -> None:
    def start(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, regrow.Regrower]:
        net = Net() if draw != "split" else chain()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for each in net.parameters():
                nn.init.normal_(each, std=0.3)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        taken = {"0": 2, "4": 2} if draw == "split" else None
        regrower = attached(recipe(draw, layers=taken, steps=(AT, 5, 8)), net, optimizer)
        return net, optimizer, regrower

    def go(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            torch.manual_seed(step)
            train(net, optimizer, range(step, step + 1))

    whole, first, second = start(1), start(1), start(2)
    go(*whole[:2], range(10))
    go(*first[:2], range(cut))
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    for part, state in zip(second, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    go(*second[:2], range(cut, 10))
    assert whole[2].report.events == second[2].report.events
    assert len(whole[2].report.events) >= 6
    assert same(whole[0], second[0])


# ---- first values


def test_units_begin_again_as_they_were_when_the_recipe_was_attached() -> None:
    net = Net()
    start = {name: value.detach().clone() for name, value in net.named_parameters()}
    optimizer = sgd(net)
    regrower = attached(recipe("initial"), net, optimizer)
    train(net, optimizer, range(AT + 1))
    for path, units in renewed(regrower).items():
        for name in ("weight", "bias"):
            now = net.get_parameter(f"{path}.{name}").detach()
            others = [unit for unit in range(len(now)) if unit not in units]
            assert torch.equal(now[units], start[f"{path}.{name}"][units])
            assert not torch.equal(now[others], start[f"{path}.{name}"][others])
    kept = regrower.state_dict()["first"]
    assert set(kept) == {
        f"{p}.{n}" for p in ("stem", "a", "b", "inner") for n in ("weight", "bias")
    }
    regrower.detach()
    assert "first" not in attached(recipe(None), net, optimizer).state_dict()
    with pytest.raises(StateError, match="first"):
        regrower.load_state_dict({k: v for k, v in regrower.state_dict().items() if k != "first"})
    with pytest.raises(StateError, match=r"first values of stem.weight are not whole"):
        regrower.load_state_dict({**regrower.state_dict(), "first": {}})


def test_first_values_are_those_behind_the_gain_check() -> None:
    net = chain()
    with torch.no_grad():
        net[4].weight.mul_(1e-3)
    start = net[4].weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    from regrow.nn.gain_check import GainCheck

    given = recipe("initial", layers={"4": 3}, gain_check=GainCheck())
    regrower = attached(given, net, optimizer)
    train(net, optimizer, range(AT + 1))
    gain = regrower.report.gains["4"]
    units = renewed(regrower)["4"]
    assert gain > 100
    torch.testing.assert_close(net[4].weight.detach()[units], start[units] * gain)


# ---- a split that keeps the function


def chain(act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), act(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(54, 8), act(),
        nn.Linear(8, 3),
    )  # fmt: skip


def test_a_split_of_dead_units_keeps_what_the_network_computes() -> None:
    """In the model, and in a copy of it that has weights of its own."""
    net = chain().double()
    with torch.no_grad():
        for path, units in (("0", [1, 4]), ("4", [0, 2, 5])):
            net.get_submodule(path).weight[units] = 0.0
            net.get_submodule(path).bias[units] = -1.0
    ema = copy.deepcopy(net)
    with torch.no_grad():
        for each in ema.parameters():
            each.mul_(1.1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-300)
    given = regrow.KeepAlive(step_limit=0, check_gain=False).with_parts(renew=Redraw(draw="split"))
    images = IMAGES.double()
    regrower = attach_traced(
        given, net, optimizer, example_inputs=images[0], total_steps=30, companions=[ema]
    )
    with torch.no_grad():
        before = net(images[0])
    for step in range(30):
        optimizer.zero_grad()
        cross_entropy(net(images[step % 12]), LABELS[step % 12]).backward()
        optimizer.step()
    assert set(renewed(regrower)["0"]) >= {1, 4}
    assert set(renewed(regrower)["4"]) >= {0, 2, 5}
    with torch.no_grad():
        after = net(images[0])
        every = images.flatten(0, 1)
        alive = [net[:2](every).amax((0, 2, 3))[[1, 4]], net[:6](every).amax(0)[[0, 2, 5]]]
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-12)
    assert all(bool((each > 0).all()) for each in alive)


@pytest.mark.parametrize("act", [nn.GELU, nn.Tanh, nn.ReLU6])
def test_a_split_is_refused_where_the_function_would_not_be_kept(
    act: Callable[[], nn.Module],
) -> None:
    net = chain(act)
    name = {"GELU": "gelu", "Tanh": "tanh", "ReLU6": "hardtanh"}[act.__name__]
    with pytest.raises(
        ConfigError,
        match=rf"'0' has {name} before its readers, and 1 more layer is refused: give attach\(exclude=\['0', '4'\]\)",
    ):
        attached(recipe("split", layers={"0": 1}), net, sgd(net))


def test_a_split_in_a_block_is_refused_by_name() -> None:
    net = Net()
    with pytest.raises(ConfigError, match=r"'stem' has .*exclude=\['stem', 'a', 'b'\]"):
        attached(recipe("split"), net, sgd(net))
    attached(recipe("split", layers={"inner": 1}), net, sgd(net), include=["inner"])
    with pytest.raises(ConfigError, match="give example_inputs, or calibration_inputs"):
        regrow.attach(
            recipe("split", layers={"inner": 1}),
            *(net, sgd(net)),
            wiring=regrow.trace(net, IMAGES[0]),
            include=["inner"],
        )


# ---- KeepAlive


def dead(seed: int = 0) -> nn.Sequential:
    net = chain()
    with torch.no_grad():
        net[0].weight[1], net[0].bias[1] = 0.0, -100.0
        net[4].weight[2], net[4].bias[2] = 0.0, -100.0
    return net


@pytest.mark.parametrize("draw", ["he", "centred", "initial"])
def test_keep_alive_draws_as_it_is_told(draw: Any) -> None:
    net = dead()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    regrower = attached(
        regrow.KeepAlive(draw=draw, check_gain=False), net, optimizer, total_steps=40
    )
    step = 0
    while not regrower.report.events:
        assert step < 30
        train(net, optimizer, range(step % 12, step % 12 + 1))
        step += 1
    assert renewed(regrower).items() >= {"0": [1]}.items()
    bias = net[0].bias[1].item()
    with torch.no_grad():
        given = net[0](IMAGES[(step - 1) % 12])[:, 1]
    if draw == "he":
        assert bias == 0.0
    elif draw == "centred":
        assert abs(float(given.mean())) < 1e-5
    else:
        assert (bias, net[0].weight[1].abs().max().item()) == (-100.0, 0.0)
    with pytest.raises(ConfigError, match="draw must be 'he', 'centred' or 'initial', got 'luck'"):
        regrow.KeepAlive(draw="luck")  # type: ignore[arg-type]
