"""What is measured on data, against one example at a time; and that measuring leaves no trace."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import regrow
from crossed import crossed
from graph.nets import Forward, build, example
from loop.loops import sgd, train, weights
from loop.test_silencing import blocks, plain
from regrow.criteria import MEASURED, FisherDiagonal, Observation, Oracle, Signal, Taylor
from regrow.errors import ConfigError
from regrow.loop.measure import gates
from regrow.loop.measure.probe import Probe
from traced import attach_traced

X = torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
Y = torch.tensor([0, 2, 1, 1, 0, 2, 2])


def _made(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return make().double()


def _probe(net: nn.Module, *signals: Signal, x: Any = X, **told: Any) -> Probe:
    wiring = regrow.trace(net, x[:2] if isinstance(x, Tensor) else x)
    layers = wiring.renewable(layers=("conv", "linear"))
    told = {"targets": Y, **told}
    return Probe(net, layers, x, signals=signals or MEASURED, wiring=wiring, **told)


def _heard(net: nn.Module, module: str, at: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a module takes or gives, with the gradient of one example's loss by it."""
    kept: list[Tensor] = []

    def keep(value: Tensor) -> None:
        value.retain_grad()
        kept.extend((value, value.detach().clone()))  # a skip is added to it in place

    found = net.get_submodule(module)
    if at == "input":
        handle = found.register_forward_pre_hook(lambda _, args: keep(args[0]))
    else:
        handle = found.register_forward_hook(lambda _, args, output: keep(output))
    net.eval()
    index = next(n for n in range(len(X)) if torch.equal(X[n : n + 1], x))
    F.cross_entropy(net(x), Y[index : index + 1]).backward()
    handle.remove()
    assert kept[0].grad is not None
    return kept[1], kept[0].grad


HEARD = {
    # Behind ReLU and pooling; a filter of the second is four features of the third.
    "a": (lambda: plain(F.relu, norm=True), "b", "input", 4),
    "b": (lambda: plain(F.relu, norm=True), "inner", "input", 5),
    "3.conv1": (blocks, "3.conv2", "input", 4),
    # On a residual stream: what the block adds to it, behind its norm.
    "3.conv2": (blocks, "3.bn2", "output", 4),
    "4.down.0": (blocks, "4.down.1", "output", 6),
    "0": (blocks, "1", "output", 4),
}


@pytest.mark.parametrize(("layer", "at_once"), crossed(HEARD, [256, 3]))
def test_activations_and_slopes_are_those_of_single_examples(
    layer: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "_AT_ONCE", at_once)
    make, module, at, count = HEARD[layer]
    net = _made(make)
    seen = _probe(net, Signal.ACTIVATIONS, Signal.GATES).observe()[layer]
    values: list[list[float]] = [[] for _ in range(count)]
    slopes: list[list[float]] = [[] for _ in range(count)]
    for index in range(len(X)):
        value, grad = _heard(net, module, at, X[index : index + 1])
        for each in range(count):
            own = value.reshape(count, -1)[each]
            values[each] += own.tolist()
            slopes[each].append(float((own * grad.reshape(count, -1)[each]).sum()))
    assert seen.heard is not None
    assert seen.gates is not None
    for each in range(count):
        heard, slope = values[each], slopes[each]
        mean = sum(abs(value) for value in heard) / len(heard)
        assert seen.heard.activation[each].item() == pytest.approx(mean, rel=1e-9)
        zeros = sum(value == 0 for value in heard) / len(heard)
        assert seen.heard.zeros[each].item() == pytest.approx(zeros)
        first = sum(abs(value) for value in slope) / len(slope)
        assert seen.gates.slope[each].item() == pytest.approx(first, rel=1e-9, abs=1e-15)
        second = sum(value**2 for value in slope) / len(slope) / 2
        assert seen.gates.curvature[each].item() == pytest.approx(second, rel=1e-9, abs=1e-18)
    if layer in {"a", "b", "3.conv1"}:
        assert 0 < seen.heard.zeros.mean() < 1


def test_a_channel_of_two_readers_has_one_gate() -> None:
    """The derivative is by what both hear together."""

    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = net.a(x).relu()
        return net.one(x.flatten(1)) + net.two(x.mean((2, 3)))

    net = _made(
        lambda: Forward(run, a=nn.Conv2d(3, 4, 3), one=nn.Linear(4 * 36, 3), two=nn.Linear(4, 3))
    )
    found = _probe(net, Signal.GATES).observe()["a"].gates
    assert found is not None
    slopes = []
    for index in range(len(X)):
        gate = torch.ones(1, 4, 1, 1, dtype=torch.float64, requires_grad=True)
        x = net.a(X[index : index + 1]).relu() * gate  # type: ignore[operator]
        out = net.one(x.flatten(1)) + net.two(x.mean((2, 3)))  # type: ignore[operator]
        F.cross_entropy(out, Y[index : index + 1]).backward()
        slopes.append(gate.grad.flatten())  # type: ignore[union-attr]
    torch.testing.assert_close(found.slope, torch.stack(slopes).abs().mean(0))


def test_weights_and_gradients_for_use_without_an_optimizer() -> None:
    net = _made(lambda: plain(F.relu, norm=True))
    net.get_parameter("inner.weight").requires_grad_(False)
    seen = _probe(net, Signal.WEIGHTS, Signal.GRADIENTS).observe()
    net.eval()
    F.cross_entropy(net(X), Y).backward()
    for layer in ("a", "b"):
        weight = net.get_parameter(f"{layer}.weight")
        assert weight.grad is not None
        torch.testing.assert_close(seen[layer].grad, weight.grad.flatten(1))
        torch.testing.assert_close(seen[layer].weight, weight.detach().flatten(1))
    assert seen["inner"].grad is None
    assert seen["a"].heard is None


def _restless() -> nn.Module:
    """Everything that a run could move: a norm in training mode, dropout, a counter."""

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1  # type: ignore[operator]
            random.random()  # noqa: S311 # what is at stake is its state
            return x

    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        Counting(),
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    )


def test_measuring_leaves_no_trace() -> None:
    net = _made(_restless)
    probe = _probe(net, *Signal)
    net[1].eval()
    loss = F.cross_entropy(net(X), Y)
    loss.backward(retain_graph=True)
    net.get_parameter("0.bias").grad = None
    grads = {name: each.grad for name, each in net.named_parameters()}
    kept = {name: None if each is None else each.clone() for name, each in grads.items()}
    before, flags = weights(net), [module.training for module in net.modules()]
    versions = {name: each._version for name, each in net.named_parameters()}
    state, python = torch.get_rng_state(), random.getstate()
    inputs = X.clone()
    with torch.no_grad():  # as inside an optimizer's step
        probe.observe()
    assert [module.training for module in net.modules()] == flags
    for name, each in net.named_parameters():
        assert each.grad is grads[name]
        assert each.grad is None or torch.equal(each.grad, kept[name])  # type: ignore[arg-type]
        assert each._version == versions[name]
    assert all(torch.equal(value, before[name]) for name, value in weights(net).items())
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python
    assert torch.equal(X, inputs)
    loss.backward()  # nothing that this graph needs was written


def test_autocast_is_left_out_and_half_precision_is_measured() -> None:
    net = _made(blocks).float()
    probe = _probe(net, x=X.float())
    plainly = probe.observe()["3.conv1"].gates
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = probe.observe()["3.conv1"].gates
    assert plainly is not None
    assert inside is not None
    assert torch.equal(plainly.slope, inside.slope)
    half = _probe(net.bfloat16(), x=X.bfloat16()).observe()["3.conv1"].gates
    assert half is not None
    torch.testing.assert_close(half.slope, plainly.slope, rtol=0.3, atol=0.02)


class Named(nn.Module):
    """Called with names, answers with names."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, *, images: Tensor, scale: Tensor, mask: Tensor) -> dict[str, Any]:
        hidden = self.a(images * scale).relu().mean((2, 3))
        logits = self.head(hidden) * mask
        return {"logits": logits, "twice": [2 * logits]}


def test_models_with_named_inputs_and_outputs() -> None:
    net = _made(Named)
    mask = torch.rand(7, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = {"images": X, "scale": torch.tensor(2.0, dtype=torch.float64), "mask": mask}

    def loss(outputs: Mapping[str, Any], targets: Tensor) -> Tensor:
        assert len(outputs["twice"][0]) == len(targets)
        return F.cross_entropy(outputs["logits"], targets)

    signals = (Signal.SILENCED_LOSS, Signal.GATES, Signal.ACTIVATIONS)
    seen = _probe(net, *signals, x=inputs, loss=loss).observe()["a"]
    assert seen.silenced_loss is not None
    for index in range(4):
        with torch.no_grad():
            kept = net.head.weight[:, index].clone()
            net.head.weight[:, index] = 0.0
            expected = loss(net(**inputs), Y)
            net.head.weight[:, index] = kept
        assert seen.silenced_loss.without[index].item() == pytest.approx(expected.item())
    with pytest.raises(ConfigError, match=r"output \(N, classes, ...\).*Oracle\(measure='loss'\)"):
        _probe(net, Signal.SILENCED_ACCURACY, x=inputs, loss=loss)


def test_layers_that_cannot_be_measured_are_named_and_have_no_score() -> None:
    net = build("channel_layer_norm")
    x = example("channel_layer_norm", count=7)
    wiring = regrow.trace(net, x[:2])
    signals = [Signal.GATES, Signal.SILENCED_LOSS]
    probe = Probe(net, wiring.renewable(), x, signals=signals, targets=Y, wiring=wiring)
    assert probe.notes == (
        "depthwise has no score: it is not known whether all of it passes through norm",
    )
    seen = probe.observe()["depthwise"]
    assert seen.gates is None
    assert seen.silenced_loss is not None
    recipe = regrow.RePr(s1=1, s2=1, unit="steps", rank_by="taylor")
    regrower = regrow.attach(
        *(recipe, net, sgd(net)),
        wiring=wiring,
        calibration_inputs=x,
        calibration_targets=Y,
    )
    assert "depthwise has no score" in str(regrower.report)


@pytest.mark.parametrize("name", ["functional_call", "unfolded"])
def test_weights_that_work_outside_of_their_modules_are_not_listened_to(name: str) -> None:
    net, x = build(name), example(name, count=7)
    with pytest.raises(
        ConfigError, match=r"no layer can be measured.* works outside of its module"
    ):
        _probe(net, x=x)


def test_a_reader_that_is_used_twice_in_two_ways_is_not_listened_to() -> None:
    """Called as a module, and its weight by hand: zeros at the module's input would be half of the truth."""

    def run(net: nn.Module, x: Tensor) -> Tensor:
        x = net.a(x).relu()
        y = net.b(x) + F.conv2d(x, net.b.weight)  # type: ignore[union-attr, arg-type]
        return net.head(net.c(y.relu()).relu().mean((2, 3)))

    net = _made(
        lambda: Forward(
            run,
            a=nn.Conv2d(3, 4, 3),
            b=nn.Conv2d(4, 5, 3),
            c=nn.Conv2d(5, 4, 1),
            head=nn.Linear(4, 3),
        )
    )
    probe = _probe(net)
    assert any("a has no score: the weight of b works outside" in note for note in probe.notes)
    seen = probe.observe()
    assert seen["a"].heard is None
    assert seen["a"].silenced_loss is None
    assert seen["c"].heard is not None


def _folded() -> nn.Module:
    """Pixels become examples on the way."""

    def run(net: nn.Module, x: Tensor) -> Tensor:
        y = net.a(x).relu().permute(0, 2, 3, 1).flatten(0, 2)
        return net.b(y).unflatten(0, (len(x), -1)).mean(1)

    return Forward(run, a=nn.Conv2d(3, 4, 3), b=nn.Linear(4, 3))


def _pooled() -> nn.Module:
    return Forward(
        lambda net, x: net.b(net.a(x).relu().mean((0, 2, 3))),
        a=nn.Conv2d(3, 4, 3),
        b=nn.Linear(4, 3),
    )


def _crater() -> nn.Module:
    return plain(F.relu, norm=False)


MISTAKES: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], str]] = {
    "no inputs": (
        _crater,
        {"calibration_inputs": None},
        r"Taylor.*attach\(calibration_inputs=.*rank_by",
    ),
    "no targets": (
        *(_crater, {"calibration_targets": None}),
        r"Taylor.*attach\(calibration_targets=.*rank_by",
    ),
    "no tensor": (_crater, {"calibration_inputs": (3,)}, "must hold a tensor.*got none"),
    "no examples": (_crater, {"calibration_inputs": X[:0]}, "must hold a tensor.*got none"),
    "other lengths": (_crater, {"calibration_targets": Y[:5]}, "each of the 7 .*got 5"),
    "one target": (_crater, {"calibration_targets": Y[0]}, "got a single number"),
    "no tensor of targets": (_crater, {"calibration_targets": [0, 1]}, "one tensor, got list"),
    "inputs that differ": (
        *(_crater, {"calibration_inputs": (X, X[:3])}),
        "same number of examples at axis 0, got 7 and 3",
    ),
    "another shape": (
        *(_crater, {"calibration_inputs": X[:, :2]}),
        "model must run on calibration_inputs, and raised RuntimeError",
    ),
    "one output for all": (_pooled, {}, r"examples at axis 0: for 3 .* gave \(3,\)|gave \(3,\)"),
    "examples folded away": (_folded, {}, r"no layer can be measured.*no axis 0 of examples"),
    "a loss an example": (
        *(_crater, {"calibration_loss": lambda o, t: F.cross_entropy(o, t, reduction="none")}),
        r"one floating-point number.*got shape \(3,\)",
    ),
    "a summed loss": (
        *(_crater, {"calibration_loss": nn.CrossEntropyLoss(reduction="sum")}),
        "mean over the batch.*twice",
    ),
    "no tensor of loss": (
        *(_crater, {"calibration_loss": lambda o, t: 1.0}),
        "one floating-point number.*got float",
    ),
    "a loss that raises": (
        *(_crater, {"calibration_loss": F.mse_loss}),
        "calibration_loss must take.*raised RuntimeError",
    ),
    "targets of no class": (
        *(_crater, {"calibration_targets": Y + 7}),
        "cross entropy, the default calibration_loss, must take.*raised IndexError",
    ),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_before_training(mistake: str) -> None:
    make, wrong, words = MISTAKES[mistake]
    net = _made(make)
    told = {"calibration_inputs": X, "calibration_targets": Y, **wrong}
    recipe = regrow.RePr(unit="steps", rank_by="taylor")
    if mistake == "one output for all":
        x = X[:3]  # three numbers for three examples would be right
        told["calibration_inputs"], told["calibration_targets"] = torch.cat([x, x]), Y[:6]
        net.b = nn.Linear(4, 4).double()
        words = words.replace("(3,)", "(4,)").replace(r"\(3,\)", r"\(4,\)")
    with pytest.raises(ConfigError, match=words) as caught:
        attach_traced(recipe, net, sgd(net), example_inputs=X[:2], **told)
    assert "\n" not in str(caught.value)


def test_a_loss_without_a_gradient_is_refused() -> None:
    net = _made(_crater)
    probe = _probe(net, Signal.GATES, loss=lambda o, t: F.cross_entropy(o.detach(), t))
    with pytest.raises(ConfigError, match="has no gradient"):
        probe.observe()


def test_recipes_that_do_not_measure_need_no_data() -> None:
    for word in ("overlap", "weights", "random", "gradients"):
        net = _made(_crater)
        recipe = regrow.RePr(unit="steps", rank_by=word)  # type: ignore[arg-type]
        attach_traced(recipe, net, sgd(net), example_inputs=X[:2]).detach()
    net = _made(_crater)
    recipe = regrow.RePr(unit="steps", rank_by="apoz")
    attach_traced(recipe, net, sgd(net), example_inputs=X[:2], calibration_inputs=X).detach()


def _score(criterion: Any, seen: Observation) -> Tensor:
    _, scores = criterion.score(
        criterion.observe({}, seen), layer="", count=seen.count, step=0, seed=0
    )
    return scores


@pytest.mark.parametrize(
    ("word", "criterion"),
    [("taylor", Taylor()), ("hessian", FisherDiagonal()), ("oracle", Oracle())],
)
def test_a_recipe_drops_what_the_measurement_says(
    word: Any,
    criterion: Any,
    small_cnn: Callable[[int], nn.Module],
    batches: Callable[[int], list[tuple[Tensor, Tensor]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Measured at the steps at which filters leave, and at no other; the weights are those of before the step."""
    net = small_cnn(0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    x, y = batches(1)[0]
    recipe = regrow.RePr(s1=4, s2=3, cycles=2, unit="steps", rank_by=word)
    regrower = attach_traced(
        *(recipe, net, optimizer),
        example_inputs=x[:2],
        calibration_inputs=x,
        calibration_targets=y,
    )
    steps: list[int] = []
    kept: dict[str, Observation] = {}
    before: dict[str, Tensor] = {}
    measure = Probe.observe

    def observe(probe: Probe, only: Collection[str] | None = None) -> dict[str, Observation]:
        if not steps:
            before.update(weights(net))
        found = measure(probe, only)
        steps.append(regrower.report.steps)
        if len(steps) == 1:
            kept.update(found)
        return found

    monkeypatch.setattr(Probe, "observe", observe)
    train(net, optimizer, batches(4))
    resting = {path: list(filters) for path, filters in regrower.report.resting.items()}
    train(net, optimizer, batches(20)[4:])
    assert steps == [3, 10]
    net.load_state_dict(before)
    layers = regrow.trace(net, x[:2]).renewable()
    again = Probe(net, layers, x, signals=criterion.needs, targets=y)
    scores = {path: _score(criterion, seen) for path, seen in measure(again).items()}
    for path, found in scores.items():
        assert torch.equal(found, _score(criterion, kept[path]))
    lowest = sorted((float(s), path, i) for path, own in scores.items() for i, s in enumerate(own))
    expected: dict[str, list[int]] = {}
    for _, path, index in sorted(lowest)[:3]:
        expected.setdefault(path, []).append(index)
    assert {path: sorted(own) for path, own in expected.items()} == resting
